//! What can be typed behind `serve`: where to listen, which roles run here, and where the others are.

use super::{TeamArgs, typed};
use callboard::settings::Overrides;
use clap::Args;

/// `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints `listening on http://ADDRESS` once tasks are taken. SIGTERM or Ctrl-C drains: nothing new is taken, what runs
may finish for CALLBOARD_DRAIN_GRACE (20s), the rest is handed back and goes on after the restart; exit 0. A second
signal ends at once (130 or 143). More settings are read from CALLBOARD_* variables and --config.

Examples:
  callboard serve
  callboard serve --listen 127.0.0.1:0 --store memory: --provider mock --mock-latency 50ms
  CALLBOARD_API_KEYS=s3cret=acme callboard serve --listen 0.0.0.0:8000

Split over processes (each with the same CALLBOARD_INTERNAL_TOKEN where others reach them):
  callboard serve --role master --store redis://cache
  callboard serve --role gateway
  callboard serve --role worker --master-url http://master:8000 --gateway-url http://gateway:7000")]
pub struct ServeArgs {
    /// Where to listen; port 0 takes any free one [CALLBOARD_LISTEN, default 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// What runs here: all, or some of master, gateway and worker: gateway,worker [CALLBOARD_ROLE]
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Seconds that POST /task waits when the client does not say [CALLBOARD_TASK_WAIT, default 0]
    #[arg(long, value_name = "SECONDS")]
    pub task_wait: Option<String>,
    /// Where the master is, for a worker elsewhere [MASTER_URL]
    #[arg(long, value_name = "URL")]
    pub master_url: Option<String>,
    /// Where the gateway is, for a worker elsewhere [LLM_GATEWAY_URL]
    #[arg(long, value_name = "URL")]
    pub gateway_url: Option<String>,
    /// Where others reach this worker's agents; by default where it listens [PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// The name of a worker's only agent [AGENT_ID]
    #[arg(long, value_name = "NAME")]
    pub agent_id: Option<String>,
    /// What a worker does: analyze,retrieve; by default all that the team does [CAPABILITIES]
    #[arg(long, value_name = "LIST")]
    pub capabilities: Option<String>,
    /// Let everybody in who reaches the listener [CALLBOARD_INSECURE]
    #[arg(long)]
    pub insecure: bool,
    #[command(flatten)]
    pub team: TeamArgs,
}

impl ServeArgs {
    /// The settings that were typed.
    pub fn overrides(&self) -> Overrides {
        let insecure = self.insecure.then(|| "true".to_owned());
        let own = [
            ("listen", &self.listen),
            ("role", &self.role),
            ("master_url", &self.master_url),
            ("gateway_url", &self.gateway_url),
            ("public_url", &self.public_url),
            ("agent_id", &self.agent_id),
            ("capabilities", &self.capabilities),
            ("task_wait", &self.task_wait),
            ("insecure", &insecure),
        ];
        [typed(own), self.team.overrides()].concat()
    }
}
