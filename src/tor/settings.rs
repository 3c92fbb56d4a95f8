//! Arti's own settings, passed through, with our directories.
//!
//! A key that Arti does not know is an error here: a misspelt setting that is ignored is how the wrong network,
//! or no bridge, gets used.

use std::path::{Path, PathBuf};

use arti_client::config::TorClientConfig;
use tor_config::load::{ConfigResolveOptions, resolve_return_results};
use tor_config::{ConfigurationSource, ConfigurationSources};

use super::TorError;
use crate::config::layers;

/// Where a client keeps its state, and Arti's own settings for it.
#[derive(Clone)]
pub struct Settings {
    /// Guards and keys; kept for ever.
    pub state: PathBuf,
    /// Directory documents; may be lost.
    pub cache: PathBuf,
    /// Arti's own settings (`tor_network`, `path_rules`, `bridges`, …), as in an `arti.toml`. `storage.state_dir` and
    /// `storage.cache_dir` are ours, whatever it says.
    pub arti: toml::Table,
}

impl Settings {
    /// With state and cache in `tor` under `home`; Arti's own settings out of `file` (a relative one is meant from the
    /// home), and `table` over them.
    pub fn in_home(home: &Path, file: Option<&Path>, table: toml::Table) -> Result<Self, TorError> {
        let mut arti = match file {
            Some(file) => {
                let path = home.join(file);
                let unreadable = |reason: String| TorError::File { path: path.clone(), reason };
                let text =
                    std::fs::read_to_string(&path).map_err(|error| unreadable(error.kind().to_string()))?;
                text.parse()
                    .map_err(|error: toml::de::Error| unreadable(error.to_string().trim_end().into()))?
            }
            None => toml::Table::new(),
        };
        layers::lay_over(&mut arti, table);
        let directory = home.join("tor");
        Ok(Self { state: directory.join("state"), cache: directory.join("cache"), arti })
    }

    /// Whether Arti accepts them; for a check before anything is started.
    pub fn check(&self) -> Result<(), TorError> {
        self.resolve().map(drop)
    }

    /// What state and cache are in.
    fn home(&self) -> Option<&str> {
        self.state.parent()?.parent()?.to_str()
    }

    pub(super) fn resolve(&self) -> Result<TorClientConfig, TorError> {
        let mut table = self.arti.clone();
        let storage = table.entry("storage").or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(storage) = storage.as_table_mut() else {
            return Err(TorError::Settings("`storage` is not a table".into()));
        };
        storage.insert("state_dir".into(), literal(&self.state)?);
        storage.insert("cache_dir".into(), literal(&self.cache)?);
        if let Some(home) = self.home().filter(|_| are_owners_hidden()) {
            storage
                .entry("permissions")
                .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                .as_table_mut()
                .ok_or_else(|| TorError::Settings("`storage.permissions` is not a table".into()))?
                .entry("ignore_prefix")
                .or_insert_with(|| toml::Value::String(home.to_owned()));
        }
        check_transports(&table)?;
        let text = toml::to_string(&table).map_err(|error| TorError::Settings(error.to_string()))?;

        let mut sources = ConfigurationSources::new_empty();
        sources
            .push_source(ConfigurationSource::from_verbatim(text), tor_config::sources::MustRead::MustRead);
        let tree = sources.load().map_err(|error| TorError::Settings(chain(&error)))?;
        let results = resolve_return_results::<TorClientConfig>(&tree, &ConfigResolveOptions::default())
            .map_err(|error| TorError::Settings(chain(&error)))?;
        match results.unrecognized.first() {
            Some(key) => Err(TorError::Settings(format!("Arti knows no setting `{key}`"))),
            None => Ok(results.value),
        }
    }
}

/// Whether the machine's own directories seem to be nobody's: so it looks from a service in a user namespace of its own,
/// and Arti would trust none of them, and so not the home in them either. The home itself is looked at in any case.
fn are_owners_hidden() -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        /// To whom the kernel shows owners that a namespace does not know.
        const NOBODY: u32 = 65_534;
        std::fs::metadata("/").is_ok_and(|root| root.uid() == NOBODY)
    }
    #[cfg(not(unix))]
    false
}

/// Refuses a pluggable transport whose program is not there: Arti would say so only in its log, call after call.
fn check_transports(table: &toml::Table) -> Result<(), TorError> {
    let transports = table.get("bridges").and_then(|bridges| bridges.get("transports")?.as_array());
    for transport in transports.into_iter().flatten() {
        // What Arti expands, and what is no text, is left to Arti.
        let Some(path) = transport.get("path").and_then(toml::Value::as_str) else { continue };
        if Path::new(path).is_absolute() && !path.contains('$') && !is_program(Path::new(path)) {
            return Err(TorError::Settings(format!(
                "`bridges.transports` names {path}, which is not a program; install it, or correct the path"
            )));
        }
    }
    Ok(())
}

fn is_program(path: &Path) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        found.is_file() && found.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    found.is_file()
}

/// A path in which nothing is expanded.
fn literal(path: &Path) -> Result<toml::Value, TorError> {
    let text = path.to_str().ok_or_else(|| TorError::Storage("its path is not UTF-8".into()))?;
    let mut table = toml::Table::new();
    table.insert("literal".into(), toml::Value::String(text.to_owned()));
    Ok(toml::Value::Table(table))
}

/// The reasons of an error, outermost first. Arti's errors about settings name keys and what is wrong with them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some program that is everywhere.
    const PROGRAM: &str = "/bin/sh";

    fn settings(arti: &str) -> Settings {
        Settings {
            state: "/nowhere/state".into(),
            cache: "/nowhere/cache".into(),
            arti: arti.parse().unwrap(),
        }
    }

    fn refusal(arti: &str) -> String {
        settings(arti).check().unwrap_err().to_string()
    }

    #[test]
    fn the_settings_of_a_private_network_are_accepted() {
        let arti = r#"
            [path_rules]
            ipv4_subnet_family_prefix = 33
            ipv6_subnet_family_prefix = 129
            [address_filter]
            allow_local_addrs = true
            [tor_network.authorities]
            v3idents = ["0123456789ABCDEF0123456789ABCDEF01234567"]
            uploads = [["127.0.0.9:7000"]]
            downloads = [["127.0.0.9:7000"]]
            votes = [["127.0.0.9:7000"]]
            [[tor_network.fallback_caches]]
            rsa_identity = "0123456789ABCDEF0123456789ABCDEF01234567"
            ed_identity = "Ag/Gc4vnZ9rLgcq3vRzLhD7aRWq2SKMMxmLRqxQSdH0"
            orports = ["127.0.0.9:5000"]
        "#;
        settings(arti).check().unwrap();
        settings("").check().unwrap();
    }

    #[test]
    fn a_misspelt_setting_is_named_and_not_ignored() {
        assert!(refusal("[path_rulez]\nx = 1").contains("path_rulez"));
        assert!(refusal("[path_rules]\nipv4_subnet = 33").contains("path_rules.ipv4_subnet"));
        assert!(
            refusal("[path_rules]\nipv4_subnet_family_prefix = \"x\"").contains("ipv4_subnet_family_prefix")
        );
        assert!(refusal("storage = 1").contains("storage"));
    }

    #[test]
    fn a_bridge_line_that_arti_refuses_is_shown_with_its_reason() {
        let text = refusal("[bridges]\nbridges = [\"192.0.2.1:443 not-a-fingerprint\"]");
        assert!(text.contains("bridge"), "{text}");
        assert!(text.contains("not-a-fingerprint"), "{text}");
    }

    #[test]
    fn a_transport_that_no_program_is_named_for_is_refused() {
        let line = "obfs4 192.0.2.1:443 0123456789ABCDEF0123456789ABCDEF01234567 cert=x iat-mode=0";
        let text = refusal(&format!("[bridges]\nbridges = [\"{line}\"]"));
        assert!(text.contains("obfs4") || text.contains("transport"), "{text}");
        let ok = format!(
            "[bridges]\nbridges = [\"{line}\"]\n[[bridges.transports]]\nprotocols = [\"obfs4\"]\npath = \"{PROGRAM}\""
        );
        settings(&ok).check().unwrap();
        let text = refusal(&ok.replace(PROGRAM, "/nowhere/obfs4proxy"));
        assert!(text.contains("/nowhere/obfs4proxy") && text.contains("install"), "{text}");
    }

    #[test]
    fn our_directories_stand_whatever_the_settings_say() {
        let config = settings("[storage]\nstate_dir = \"/elsewhere\"").resolve().unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("/nowhere/state") && !shown.contains("/elsewhere"));
    }
}
