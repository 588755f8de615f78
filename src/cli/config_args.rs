//! The options of the configuration as clap arguments, made from the one table of options.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, ConfigError, Given, OPTIONS};

/// `--config` and every option that was given as a flag or in the environment.
#[derive(Debug, Clone)]
pub struct ConfigArgs {
    pub file: Option<PathBuf>,
    pub given: Vec<Given>,
}

impl ConfigArgs {
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref(), &self.given)
    }
}

const FILE: &str = "config";

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("PATH")
            .env("ICECORE_CONFIG")
            .hide_env(true)
            .value_parser(clap::value_parser!(PathBuf))
            .help("The configuration file, in TOML");
        OPTIONS.iter().fold(command.arg(file), |command, option| {
            let mut config = Config::default();
            let field = (option.field)(&mut config);
            let default = field.show();
            let effect = option.effect.trim_end_matches(',');
            let help =
                if default.is_empty() { effect.to_owned() } else { format!("{effect} [default: {default}]") };
            let mut arg = Arg::new(option.key)
                .long(option.key)
                .env(option.environment_variable())
                .hide_env(true)
                .value_name(if field.is_switch() { "on|off" } else { option.placeholder })
                .help(help)
                .help_heading(heading(option.toml_place().0));
            if field.is_switch() {
                arg = arg.num_args(0..=1).default_missing_value("on");
            }
            if field.is_list() {
                arg = arg.action(ArgAction::Append);
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// One section of the help for each table of the file.
fn heading(table: &str) -> &'static str {
    match table {
        "wal" | "retention" | "seal" => "Storage",
        "limits" => "Limits on what is taken in",
        "query" => "Limits on queries",
        "otlp" => "OTLP",
        "log" => "Log",
        _ => "Server",
    }
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ConfigArgs, clap::Error> {
        let mut given = Vec::new();
        for option in OPTIONS {
            let Some(texts) = matches.get_many::<String>(option.key) else { continue };
            let text = texts.map(String::as_str).collect::<Vec<_>>().join(",");
            let origin = match matches.value_source(option.key) {
                Some(ValueSource::EnvVariable) => option.environment_variable(),
                _ => format!("--{}", option.key),
            };
            given.push(Given { key: option.key, text, origin });
        }
        Ok(ConfigArgs { file: matches.get_one::<PathBuf>(FILE).cloned(), given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
