//! `docs/clients.md`: a row for each driver, with the versions that are pinned and exactly what was proved.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::stage::drivers;

/// What a row says, by its driver.
struct Row {
    /// Package and version, as they stand there.
    versions: BTreeMap<String, String>,
    proved: String,
}

/// Panics unless the row of `driver` says just this.
pub fn check(driver: &str, versions: &BTreeMap<String, String>, proved: &[String]) {
    let proved = proved.join(", ");
    let list =
        versions.iter().map(|(name, version)| format!("`{name}` {version}")).collect::<Vec<_>>().join(", ");
    let right = format!("| {list} | `{driver}` | {proved} |");
    let row = rows().remove(driver);
    let said = row.is_some_and(|row| {
        let versions = versions.iter().filter(|(name, _)| is_pinned(name));
        row.proved == proved
            && versions.into_iter().all(|(name, version)| row.versions.get(name) == Some(version))
    });
    assert!(said, "docs/clients.md should say:\n{right}");
}

/// The version of a crate that the suite is built with.
pub fn crate_version(name: &str) -> String {
    crates().remove(name).unwrap()
}

/// What comes with the machine has no pin.
fn is_pinned(name: &str) -> bool {
    name != "curl"
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rows of three cells whose second is a driver.
fn rows() -> BTreeMap<String, Row> {
    let text = read("docs/clients.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [packages, driver, proved] = cells[..] else { return None };
        let driver = driver.strip_prefix('`')?.strip_suffix('`')?;
        let versions = packages.split(", ").filter_map(|package| {
            let (name, version) = package.strip_prefix('`')?.split_once("` ")?;
            Some((name.to_owned(), version.to_owned()))
        });
        Some((driver.to_owned(), Row { versions: versions.collect(), proved: proved.to_owned() }))
    });
    rows.collect()
}

/// Name and version of everything that the Python drivers get.
fn requirements(file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(drivers().join(file)).unwrap();
    let pins = text.lines().filter_map(|line| line.split_once("=="));
    pins.map(|(name, version)| (name.to_owned(), version.trim().to_owned())).collect()
}

/// The same for the Node drivers, out of the lock.
fn packages(directory: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(drivers().join(directory).join("package-lock.json")).unwrap();
    let lock: Value = serde_json::from_str(&text).unwrap();
    let installed = lock["packages"].as_object().unwrap().iter();
    let pins = installed.filter_map(|(path, package)| {
        Some((path.strip_prefix("node_modules/")?.to_owned(), package["version"].as_str()?.to_owned()))
    });
    pins.collect()
}

/// The same for the suite itself.
fn crates() -> BTreeMap<String, String> {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    packages
        .map(|package| {
            (package["name"].as_str().unwrap().into(), package["version"].as_str().unwrap().into())
        })
        .collect()
}

/// Where the versions of a driver's packages are pinned.
fn pins(driver: &str) -> BTreeMap<String, String> {
    match driver.split_once('/').unwrap() {
        ("python", "instructor_client.py") => requirements("requirements-instructor.txt"),
        ("python", _) => requirements("requirements.txt"),
        ("node", _) => packages(""),
        ("large", "aider.sh") => requirements("large/requirements.txt"),
        ("large", _) => packages("large"),
        ("tests", _) => crates(),
        ("shell", _) => BTreeMap::new(),
        _ => panic!("nothing pins {driver}"),
    }
}

#[test]
fn the_table_of_clients_names_the_pinned_versions() {
    for (driver, row) in rows() {
        assert!(!row.versions.is_empty() && !row.proved.is_empty(), "{driver}");
        let pins = pins(&driver);
        for (name, version) in row.versions.iter().filter(|(name, _)| is_pinned(name)) {
            assert_eq!(pins.get(name), Some(version), "{name} in the row of {driver}");
        }
    }
}

#[test]
fn the_table_of_clients_has_every_driver_and_every_package() {
    let rows = rows();
    for directory in ["python", "node", "shell", "large"] {
        for entry in std::fs::read_dir(drivers().join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_driver =
                [".py", ".mjs", ".sh"].iter().any(|end| name.ends_with(end)) && !name.starts_with("common.");
            if is_driver {
                assert!(rows.contains_key(&format!("{directory}/{name}")), "no row for {directory}/{name}");
            }
        }
    }
    let named = |package: &str| rows.values().any(|row| row.versions.contains_key(package));
    for list in ["requirements.in", "requirements-instructor.in", "large/requirements.in"] {
        let text = std::fs::read_to_string(drivers().join(list)).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let package = line.split('[').next().unwrap();
            assert!(named(package), "{package} of {list} has no row");
        }
    }
    for list in ["package.json", "large/package.json"] {
        let text = std::fs::read_to_string(drivers().join(list)).unwrap();
        let listed: Value = serde_json::from_str(&text).unwrap();
        for package in listed["dependencies"].as_object().unwrap().keys() {
            // Describes schemas to the others.
            assert!(named(package) || package == "zod", "{package} of {list} has no row");
        }
    }
}
