//! The program as its users have it: the real binary, its words, its exit codes, its end.

mod abuse;
mod backup;
mod bench;
mod commands;
mod demo;
mod disk;
mod doctor;
mod life;
mod logs;
mod pause;
#[cfg(target_os = "linux")]
mod service;
mod setup;
mod terminal;
mod tokens;
mod topup;
#[cfg(all(target_os = "linux", feature = "desktop"))]
mod tray;
mod usage;
