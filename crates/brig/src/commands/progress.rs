//! The progress of a pull: bars on a terminal, plain lines otherwise, nothing when it is quiet. On the standard error.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::images::{LayerEvent, PullProgress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ui::{self, Ui};
use crate::view::short_id;

/// Draws the progress.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    layers: Mutex<HashMap<String, Layer>>,
    finished: AtomicBool,
}

#[derive(Debug)]
enum Style {
    /// Say nothing.
    Quiet,
    /// A line a change.
    Lines,
    /// Bars that move.
    Bars(Box<MultiProgress>),
}

/// What is known of one layer.
#[derive(Debug, Default)]
struct Layer {
    total: u64,
    bar: Option<ProgressBar>,
    unpacking: bool,
}

impl Progress {
    /// Chooses how to draw. Nothing is drawn, and no thread started, before the first event.
    pub(crate) fn new(_ui: &Ui, quiet: bool) -> Self {
        let style = match (quiet, ui::stderr_is_terminal()) {
            (true, _) => Style::Quiet,
            (false, false) => Style::Lines,
            (false, true) => {
                Style::Bars(Box::new(MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10))))
            }
        };
        Self { style, layers: Mutex::new(HashMap::new()), finished: AtomicBool::new(false) }
    }

    /// The progress of a load: bars on a terminal, otherwise nothing.
    pub(crate) fn of_load(ui: &Ui, quiet: bool) -> Self {
        Self::new(ui, quiet || !ui::stderr_is_terminal())
    }

    /// Says a line.
    pub(crate) fn line(&self, text: &str) {
        match &self.style {
            Style::Quiet => {}
            Style::Lines => ui::note(text),
            Style::Bars(_) if self.finished.load(Ordering::Relaxed) || !self.has_bars() => ui::note(text),
            // A terminal that went away loses a line that nobody reads.
            Style::Bars(bars) => drop(bars.println(text)),
        }
    }

    /// Ends the bars; they stay where they are, and what is said next stands below them.
    pub(crate) fn finish(&self) {
        if self.finished.swap(true, Ordering::Relaxed) {
            return;
        }
        let has_bars = self.has_bars();
        for bar in
            self.layers().values().filter_map(|layer| layer.bar.as_ref()).filter(|bar| !bar.is_finished())
        {
            bar.abandon();
        }
        if has_bars {
            // The last bar's line has no end yet.
            ui::note("");
        }
    }

    fn has_bars(&self) -> bool {
        self.layers().values().any(|layer| layer.bar.is_some())
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<String, Layer>> {
        // What a panicked thread left half drawn is still worth drawing.
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl engine::images::Progress for Progress {
    fn layer(&self, digest: &oci::Digest, event: LayerEvent<'_>) {
        let Style::Bars(bars) = &self.style else {
            if let (Style::Lines, Some(text)) = (&self.style, plain(event)) {
                ui::note(&format!("{}: {text}", short_id(&digest.to_string())));
            }
            return;
        };
        let mut layers = self.layers();
        let name = digest.to_string();
        let layer = layers.entry(name.clone()).or_default();
        let bar = layer.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            bars.add(bar.with_style(text_style()).with_prefix(short_id(&name).to_owned()))
        });
        match event {
            LayerEvent::Waiting { total } => {
                layer.total = total;
                bar.set_message("Waiting");
            }
            LayerEvent::Exists => bar.finish_with_message("Already exists"),
            LayerEvent::Downloaded { bytes } => {
                if bar.length().is_none() {
                    bar.set_length(layer.total);
                    bar.set_style(bar_style());
                    bar.set_message("Downloading");
                }
                if !layer.unpacking {
                    bar.set_position(bytes);
                }
            }
            LayerEvent::Unpacked { bytes } => {
                // Unpacking runs along with the download; it is shown once the bytes are here.
                if !layer.unpacking && bar.position() >= layer.total {
                    layer.unpacking = true;
                    bar.set_message("Extracting");
                }
                if layer.unpacking {
                    bar.set_position(bytes);
                }
            }
            LayerEvent::Retrying { attempt, .. } => bar.set_message(format!("Retrying ({attempt})")),
            LayerEvent::Done => {
                bar.set_style(text_style());
                bar.finish_with_message("Pull complete");
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl PullProgress for Progress {
    fn message(&self, text: &str) {
        self.line(text);
    }
}

/// What is said of an event where lines are all there is; progress in bytes is not.
fn plain(event: LayerEvent<'_>) -> Option<String> {
    match event {
        LayerEvent::Waiting { .. } => Some("Pulling fs layer".to_owned()),
        LayerEvent::Exists => Some("Already exists".to_owned()),
        LayerEvent::Downloaded { .. } | LayerEvent::Unpacked { .. } => None,
        LayerEvent::Retrying { attempt, error } => {
            Some(format!("Retrying (attempt {attempt}): {}", base::error::render_chain(error)))
        }
        LayerEvent::Done => Some("Pull complete".to_owned()),
    }
}

fn text_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg:<11} [{bar:40}] {bytes:>10}/{total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
