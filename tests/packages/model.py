#!/usr/bin/env python3
"""A model behind the reference backend, for an agent that is to write a file: it calls the agent's tool for writing, and when the
result is there says so. Prints its base URL as JSON; `GET /shown` tells how many calls it was shown."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

shown = []


def say(messages):
    text = "\n".join(
        content if isinstance(content := message["content"], str) else "\n".join(part.get("text", "") for part in content)
        for message in messages
    )
    task = re.search(r"Create the file (\S+) with the text (\w+)", text)
    if not task or '"name":"write"' not in text:
        return "A short title"
    if "<tool_response" in messages[-1]["content"]:
        return "The file is there."
    described = next(line for line in text.splitlines() if '"name":"write"' in line)
    place = next(name for name in ("filePath", "file_path", "path") if name in described)
    call = {"name": "write", "arguments": {place: task[1]}}
    if "<parameter name=" in text:
        return f"<tool_call>\n{json.dumps(call)}\n<parameter name=\"content\">\n{task[2]}\n</parameter>\n</tool_call>"
    call["arguments"]["content"] = task[2] + "\n"
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        shown.append(sorted(asked))
        message = {"role": "assistant", "content": say(asked["messages"])}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.reply({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice]})

    def do_GET(self):
        self.reply(shown)

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
print(json.dumps({"base_url": f"http://127.0.0.1:{server.server_port}/v1"}), flush=True)
server.serve_forever()
