//! `batos status --metrics`: the figures of steward, kernel and inference-worker in the text format of Prometheus.
//!
//! Nothing listens for it: a timer writes it into the folder of node_exporter's textfile collector (README).

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value as Json;
use shared::bridge::KernelStatus;
use shared::control::StewardStatus;
use shared::exit;
use shared::home::Home;
use shared::inference::Figures;

use crate::failure::Failure;
use crate::output::Report;
use crate::{status, steward};

const PATIENCE: Duration = Duration::from_millis(1500);

/// Also without a kernel, whose absence is a figure as well; the exit code is that of `status`.
pub fn run(home: &Home) -> Result<Report, Failure> {
    let steward = steward::status(home);
    let kernel = status::kernel(home, PATIENCE).ok();
    Ok(Report {
        document: Json::Null,
        text: text(steward.as_ref(), kernel.as_ref()),
        exit: match kernel {
            Some(_) => exit::ANSWERED,
            None => exit::NO_KERNEL,
        },
    })
}

/// What a figure does.
#[derive(Clone, Copy)]
enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only rises, until its program is started anew.
    Counter,
}
use Kind::{Counter, Gauge};

struct Page(String);

fn text(steward: Option<&StewardStatus>, kernel: Option<&KernelStatus>) -> String {
    let mut page = Page(String::new());
    page.one(
        "steward_up",
        Gauge,
        "The steward answers.",
        u8::from(steward.is_some()),
    );
    page.one(
        "kernel_up",
        Gauge,
        "The kernel answers.",
        u8::from(kernel.is_some()),
    );
    if let Some(steward) = steward {
        let restarts: Vec<_> = steward
            .planks
            .iter()
            .map(|plank| (plank.name.as_str(), plank.restarts))
            .collect();
        page.each(
            "restarts_total",
            Counter,
            "Starts after an end that nobody asked for.",
            "program",
            &restarts,
        );
    }
    if let Some(kernel) = kernel {
        page.kernel(kernel);
        let figures = kernel.inference.as_ref();
        page.one(
            "inference_up",
            Gauge,
            "The inference-worker answers.",
            u8::from(figures.is_some()),
        );
        page.one(
            "model_loaded",
            Gauge,
            "A model can be asked.",
            u8::from(kernel.model.is_ok()),
        );
        page.one(
            "embedder_loaded",
            Gauge,
            "An embedder can be asked.",
            u8::from(kernel.embedder.is_ok()),
        );
        if let Some(figures) = figures {
            page.inference(figures);
        }
    }
    page.0.truncate(page.0.trim_end().len());
    page.0
}

impl Page {
    fn kernel(&mut self, kernel: &KernelStatus) {
        self.one(
            "kernel_uptime_seconds",
            Gauge,
            "Since the kernel was started.",
            kernel.uptime_ms as f64 / 1e3,
        );
        self.one("objects", Gauge, "Objects in the image.", kernel.objects);
        self.one(
            "last_transaction",
            Gauge,
            "The newest transaction.",
            kernel.last_transaction.0,
        );
        self.one("log_bytes", Gauge, "The image's log.", kernel.log_bytes);
        self.one("blobs", Gauge, "Contents in the image.", kernel.blobs);
        self.one("blob_bytes", Gauge, "Their bytes.", kernel.blob_bytes);
        self.one("clients", Gauge, "Connections to the kernel.", kernel.clients);
        self.one("sends_total", Counter, "Messages that were sent.", kernel.sends);
        self.one(
            "conflicts_total",
            Counter,
            "Transactions that were run again.",
            kernel.conflicts,
        );
        self.one(
            "missions_open",
            Gauge,
            "Missions that are not ended.",
            kernel.missions_open,
        );
    }

    fn inference(&mut self, figures: &Figures) {
        if let Some(loading) = figures.loading {
            self.one(
                "loading_bytes",
                Gauge,
                "Of the model that is being loaded.",
                loading.all_bytes,
            );
            self.one(
                "loaded_bytes",
                Gauge,
                "What of it was read.",
                loading.loaded_bytes,
            );
        }
        self.one(
            "requests_active",
            Gauge,
            "Texts that are being written.",
            figures.active,
        );
        self.one(
            "requests_waiting",
            Gauge,
            "Requests that wait for their turn.",
            figures.waiting,
        );
        let ended = [
            ("stop", figures.stopped),
            ("max_tokens", figures.full),
            ("deadline", figures.late),
            ("cancelled", figures.cancelled),
            ("fault", figures.failed),
        ];
        self.each(
            "requests_total",
            Counter,
            "Requests that have ended, by their reason.",
            "end",
            &ended,
        );
        self.one(
            "prompt_tokens_total",
            Counter,
            "Tokens of prompts that were read.",
            figures.read_tokens,
        );
        self.one(
            "prompt_tokens_shared_total",
            Counter,
            "Those found in the cache.",
            figures.shared_tokens,
        );
        self.one(
            "tokens_total",
            Counter,
            "Tokens that were written.",
            figures.written_tokens,
        );
        self.one(
            "tokens_per_second",
            Gauge,
            "Of the last ten seconds.",
            figures.written_per_second,
        );
        self.one(
            "cache_tokens",
            Gauge,
            "What the cache can hold.",
            figures.cache_tokens,
        );
        self.one(
            "cache_held_tokens",
            Gauge,
            "What requests hold of it.",
            figures.held_tokens,
        );
        self.one(
            "cache_kept_tokens",
            Gauge,
            "What is kept for the next.",
            figures.kept_tokens,
        );
        self.one(
            "embed_waiting",
            Gauge,
            "Requests for embeddings that are open.",
            figures.embed_waiting,
        );
        self.one(
            "embed_texts_total",
            Counter,
            "Texts that were encoded.",
            figures.texts,
        );
        self.one(
            "embed_tokens_total",
            Counter,
            "Their tokens.",
            figures.text_tokens,
        );
        let of = |count: fn(&shared::inference::TierFigures) -> u64| -> Vec<(&str, u64)> {
            figures
                .tiers
                .iter()
                .map(|tier| (tier.name.as_str(), count(tier)))
                .collect()
        };
        self.each(
            "tier_adapters",
            Gauge,
            "Adapters by tier.",
            "tier",
            &of(|tier| tier.adapters.into()),
        );
        self.each(
            "tier_bytes",
            Gauge,
            "What they take.",
            "tier",
            &of(|tier| tier.bytes),
        );
        self.each(
            "tier_budget_bytes",
            Gauge,
            "What they may take.",
            "tier",
            &of(|tier| tier.budget_bytes),
        );
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "batos_{name} {value}");
    }

    fn each<V: std::fmt::Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        label: &str,
        values: &[(&str, V)],
    ) {
        if values.is_empty() {
            return;
        }
        self.head(name, kind, help);
        for (of, value) in values {
            let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(self.0, "batos_{name}{{{label}=\"{of}\"}} {value}");
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Gauge => "gauge",
            Counter => "counter",
        };
        let _ = writeln!(self.0, "# HELP batos_{name} {help}\n# TYPE batos_{name} {kind}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::inference::TierFigures;

    #[test]
    fn without_a_kernel_its_absence_is_told() {
        let text = text(None, None);
        assert!(
            text.contains("# TYPE batos_kernel_up gauge\nbatos_kernel_up 0"),
            "{text}"
        );
        assert!(!text.contains("batos_sends_total"), "{text}");
    }

    #[test]
    fn labels_are_escaped_and_every_line_is_a_figure_with_its_type() {
        let mut page = Page(String::new());
        page.inference(&Figures {
            stopped: 3,
            tiers: vec![TierFigures {
                name: "a\"b\\\n".into(),
                adapters: 2,
                bytes: 5,
                budget_bytes: 9,
            }],
            ..Figures::default()
        });
        assert!(
            page.0.contains("batos_requests_total{end=\"stop\"} 3\n"),
            "{}",
            page.0
        );
        assert!(
            page.0.contains("batos_tier_adapters{tier=\"a\\\"b\\\\\\n\"} 2\n"),
            "{}",
            page.0
        );
        let mut typed = String::new();
        for line in page.0.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                typed = rest.split(' ').next().unwrap().to_owned();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&typed), "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
