//! `tidegate keys`: make, list and revoke access keys of the API.

use connectors::contract::now_ms;

use super::daemon::open_store;
use super::publish::single_thread;
use super::{Outcome, refused, say};
use crate::config::Config;
use crate::rule::store::Role;

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key and show its secret, this once.
    Create {
        /// What the key may do.
        #[arg(long, default_value = "admin", value_parser = parse_role)]
        role: Role,
    },
    /// List the keys, without their secrets.
    List,
    /// Take a key back; it stops working at once.
    Revoke {
        /// The key's id.
        id: String,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "expected read, operate or admin".to_owned())
}

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    single_thread(keys(args, config)).map_err(refused)
}

async fn keys(args: &Args, config: &Config) -> anyhow::Result<()> {
    let store = open_store(config).await?;
    match &args.verb {
        Verb::Create { role } => {
            let key = store.create_key(*role, now_ms()).await?;
            say(format_args!(
                "id      {}\nsecret  {}\nrole    {}",
                key.id,
                key.secret,
                key.role.as_str()
            ));
        }
        Verb::List => {
            for key in store.keys().await? {
                let state = if key.revoked_ms.is_some() { "revoked" } else { "valid" };
                say(format_args!("{}  {}  {state}", key.id, key.role.as_str()));
            }
        }
        Verb::Revoke { id } => {
            if !store.revoke_key(id, now_ms()).await? {
                anyhow::bail!("there is no valid key `{id}`; `tidegate keys list` shows them");
            }
            say(format_args!("{id} is revoked"));
        }
    }
    store.close().await;
    Ok(())
}
