//! The process: how it starts, is set up, is watched, and stops.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test stops at the first surprise.

mod admin;
mod admin_actions;
mod admin_audit;
mod admin_load;
mod admin_reload;
mod admin_tenants;
mod alerts;
mod allowed_hosts;
mod compat;
mod configuration;
mod configured_tenants;
mod demo;
mod drain;
mod examples;
mod hardening;
#[path = "../harness/mod.rs"]
mod harness;
mod health;
mod health_command;
mod http;
mod http_doors;
mod ip_families;
mod library_limits;
mod load;
mod log_form;
mod logs;
mod metrics;
mod mutual_tls;
mod next_start;
mod reflection;
mod refused_starts;
mod reload;
mod reload_load;
mod reload_model;
mod settings_reload;
mod shutdown;
mod startup;
mod state_file;
mod testkit;
mod tonic_client;
mod tuning;
mod validation;
