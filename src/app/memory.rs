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
