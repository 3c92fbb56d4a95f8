//! What is in memory stays out of files: no core files.
//!
//! | what | how | why not more |
//! | --- | --- | --- |
//! | a core file | its size is limited to nothing | a program that collects crashes may be given one all the same, so: |
//! | what is in it | Linux: no memory belongs to it | |
//! | memory that is given back | wiped first, by the program's allocator (`main.rs`), whichever Rust library had it | libraries in C have their own: SQLite (which sees sealed records only) and zstd (whose window holds a request that a client sent compressed); what is in use is in memory; the kernel's buffers and swap are the system's |
//!
//! Deliberately absent: `PR_SET_DUMPABLE`. It would keep other programs of the same user from reading this one's memory, and
//! these can read the home, the API key and what the user types already; it would keep them also from telling whose a port
//! is, which `serve` does for a user whose port is taken.

/// Has this process open as many files as the system lets it: each call is a connection or two.
pub fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum {
            // Where a system wants less than the limit that it names, what was there stays.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        }
    }
}

/// From now on a limit on the size of files is an error of the write that meets it, and not the end of the process. Must be called inside
/// a Tokio runtime.
pub fn outlive_file_sizes() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // Whoever is told of a signal does not end by it; and nobody listens.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    }
}

/// Call it first, before there is anything to be kept.
pub fn keep_out_of_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let nothing = Rlimit { current: Some(0), maximum: Some(0) };
        // A limit can always be lowered; if a system has none, it has none.
        let _ = setrlimit(Resource::Core, nothing);
    }
    #[cfg(target_os = "linux")]
    {
        // A kernel without core files has no such file.
        let _ = std::fs::write("/proc/self/coredump_filter", "0\n");
    }
}
