//! Whole-program tests: the built `brig`, used as people use it, in a world of each test's own.
//!
//! A module per topic; what the program prints and how it exits is what is tested, never what lies inside. What holds
//! for Docker's command line is written so that it would hold for Docker, too. The world itself fails a test that
//! leaves something behind (see `testkit::World`).

mod boot;
mod command_line;
mod commit;
mod cp;
mod crash;
mod crash_machine;
mod devices;
mod events;
mod exec;
mod files;
mod health;
mod hostile;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod listing;
mod log_drivers;
mod logs;
mod names;
mod network;
mod networks;
mod plain_user;
mod plain_user_machine;
mod plain_user_networks;
mod ports;
mod proc_view;
mod races;
mod restart;
mod rights;
mod run;
mod secrets;
mod stats;
mod terminal;
mod update;
mod userns;
mod volumes;
mod why;

/// A program for a container that goes on until it is told to end, and then ends at once.
const PATIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
