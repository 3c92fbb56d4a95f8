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
mod tokens;
mod topup;
mod usage;
