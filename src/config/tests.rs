use std::io::Write;

use super::*;

fn given(key: &'static str, text: &str, origin: &str) -> Given {
    Given { key, text: text.to_owned(), origin: origin.to_owned() }
}

fn load_text(text: &str) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let name = file.path().display().to_string();
    Config::load(Some(file.path()), &[]).map_err(|e| e.to_string().replace(&name, "FILE"))
}

/// `config.example.toml` as the table of options tells it.
fn example() -> String {
    let mut text = String::from(
        "# Every option of Icecore, its default and its effect. Each is also a flag (--limits.max-series) and an\n\
         # environment variable (ICECORE_LIMITS_MAX_SERIES); a flag wins over the environment, that over this file.\n\
         # Durations: 500ms, 5s, 1h30m, 15d, 2w. Sizes: 512KiB, 64MiB, 2GiB, 1TiB.\n",
    );
    let mut table = "";
    for option in OPTIONS {
        let (place, key) = option.toml_place();
        if place != table {
            table = place;
            text += &format!("\n[{table}]\n");
        } else if table.is_empty() {
            text += "\n";
        }
        let mut config = Config::default();
        let field = (option.field)(&mut config);
        let value = if field.is_bare_in_toml() { field.show() } else { format!("{:?}", field.show()) };
        text += &format!("# {}.\n{key} = {value}\n", option.effect.trim_end_matches(','));
    }
    text
}

#[test]
fn the_example_lists_every_option_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, example()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), example());
    assert_eq!(Config::load(Some(&path), &[]).unwrap(), Config::default());
}

#[test]
fn what_is_given_wins_over_the_file_and_the_last_given_wins() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"shards = 2\n[query]\ntimeout = '1m'\nmax-series = 7\n").unwrap();
    let given = [given("shards", "3", "environment"), given("shards", "4", "flag")];
    let config = Config::load(Some(file.path()), &given).unwrap();
    assert_eq!((config.shards, config.query.series_max), (4, 7));
    assert_eq!(config.query.timeout, Duration::from_secs(60));
}

#[test]
fn a_bad_file_is_told_in_one_line_that_names_the_place() {
    for (text, error) in [
        (
            "shards = 2\nlisten = 8365",
            "FILE:2: listen is \"8365\": expected an address such as 127.0.0.1:8365",
        ),
        (
            "\n[limits]\nmax-serie = 1",
            "FILE:3: unknown key \"limits.max-serie\" (did you mean \"limits.max-series\"?)",
        ),
        ("zzz = 1", "FILE:1: unknown key \"zzz\""),
        ("[wal]\nsync = 'always'", "FILE:2: wal.sync is \"always\": expected group, interval or off"),
        ("[query]\ntimeout = '0s'", "query.timeout must not be 0"),
    ] {
        assert_eq!(load_text(text).unwrap_err(), error);
    }
    assert!(load_text("a b").unwrap_err().starts_with("FILE:1: "));
}

#[test]
fn an_address_beyond_loopback_needs_consent() {
    let open = given("listen", "0.0.0.0:8365", "--listen");
    let error = Config::load(None, std::slice::from_ref(&open)).unwrap_err().to_string();
    assert!(error.contains("--insecure-no-auth"), "{error}");
    Config::load(None, &[open, given("insecure-no-auth", "on", "flag")]).unwrap();
}

#[test]
fn every_value_shown_is_read_back() {
    let mut config = Config::default();
    for option in OPTIONS {
        let text = option.default_text();
        (option.field)(&mut config).set(&text).unwrap();
    }
    assert_eq!(config, Config::default());
}
