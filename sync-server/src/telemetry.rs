//! Log and traces: log lines on standard error, spans to a collector when one is given.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterFn, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, TelemetryArgs};

/// Name under which the collector shows this program.
const SERVICE_NAME: &str = "fitme-sync-server";
/// Most time the end of the program waits for its last spans to be taken.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Libraries that carry the spans out: their own spans would be exported in a loop.
const EXPORTER_CRATES: [&str; 6] = ["h2", "hyper", "hyper_util", "tonic", "tower", "opentelemetry"];

/// Silent unless the filter names it: it opens a span at level INFO for each load, commit and encoding, and somebody who
/// listens to them pays with a quarter of the server's CPU time.
const SILENT_CRATE: &str = "automerge";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("FITME_LOG={filter} is no log filter ({source}); write for example info, or warn,sync_server=debug")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The exporter does not take the address.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used ({0}); write for example http://localhost:4317")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Called twice in one process.
    #[error("the log is already set up: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// What has to be flushed at the end.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Sets up log and traces for the whole process, logging `usual` unless something else is said. Call it inside the tokio
/// runtime: the exporter needs one.
///
/// # Errors
/// When the filter or the collector's address cannot be used.
pub fn start(args: &TelemetryArgs, usual: &str) -> Result<Telemetry, TelemetryError> {
    let traces = args.otlp_endpoint.as_deref().filter(|url| !url.is_empty()).map(exporter).transpose()?;
    let log = args.log.as_deref().unwrap_or(usual);
    let filter = filter(log).map_err(|source| TelemetryError::Filter { filter: log.to_owned(), source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if wants_json(args.log_format) {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let spans = traces.as_ref().map(|provider| {
        let not_our_own = FilterFn::new(|meta| !EXPORTER_CRATES.iter().any(|name| is_of(meta.target(), name)));
        tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE_NAME)).with_filter(not_our_own)
    });
    tracing_subscriber::registry().with(filter).with(lines).with(spans).try_init()?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    std::panic::set_hook(Box::new(log_panic));
    Ok(Telemetry { traces })
}

fn filter(log: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::try_new(log)?;
    match log.contains(SILENT_CRATE) {
        true => Ok(filter),
        false => Ok(filter.add_directive(format!("{SILENT_CRATE}=off").parse()?)),
    }
}

fn is_of(target: &str, crate_name: &str) -> bool {
    target.strip_prefix(crate_name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn wants_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    }
}

fn exporter(endpoint: &str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name(SERVICE_NAME).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Says where, and only such words as stand in the source: a formatted message may quote someone's data.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let literal = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown)");
    tracing::error!(place, literal, "panic");
}

impl Telemetry {
    /// Sends what is left, for a bounded time. On a thread of its own: the exporter waits for the runtime.
    pub async fn stop(self) {
        let Some(traces) = self.traces else { return };
        let flushed = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the trace collector did not take the last spans");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled, subscriber};

    use super::*;

    /// What the filter lets through: this server at level INFO, automerge at level INFO.
    fn heard(log: &str) -> (bool, bool) {
        let filtered = tracing_subscriber::registry().with(filter(log).expect("a log filter"));
        subscriber::with_default(filtered, || {
            (enabled!(target: "sync_server::ws", Level::INFO), enabled!(target: "automerge::storage", Level::INFO))
        })
    }

    #[test]
    fn automerge_is_heard_only_by_those_who_name_it() {
        assert_eq!(heard("info"), (true, false));
        assert_eq!(heard("trace"), (true, false));
        assert_eq!(heard("warn,sync_server=debug"), (true, false));
        assert_eq!(heard("info,automerge=info"), (true, true));
        assert_eq!(heard("automerge::storage=info"), (false, true));
    }
}
