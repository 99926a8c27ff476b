//! Building the Dockerfile of a folder, through the engine's own builder.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::stream;

use super::calls::Operation;
use super::context::{self, Context};
use super::credentials::Credentials;
use super::engine::{Engine, LOOK};
use super::failure::Failure;
use super::labels;
use super::progress::LastLines;
use super::reference::Reference;
use crate::runtime::{Identity, RuntimeError};

/// A build that is silent for so long has died. Longer than for a pull: a compiler may say nothing for minutes.
const SILENCE: Duration = Duration::from_mins(10);

/// How much of a failed build's output goes into the error.
const LAST_LINES: usize = 20;

/// Builds `folder` for `app`, without the proxy's own `state_dir`, with progress in the log, and gives back the image's
/// ID. Dropped, it ends the build.
pub(super) async fn build(
    engine: &Engine,
    identity: &Identity,
    app: &str,
    folder: &Path,
    state_dir: &Path,
) -> Result<String, RuntimeError> {
    let what = format!("build app {app}");
    let dockerfile = read_dockerfile(folder).await?;
    let credentials = Credentials::load().await.of_all(&bases(&dockerfile)).await;
    let session = engine.begin(Operation::Build).await.map_err(|failure| failure.explain(&what))?;
    let tag = labels::built_image(app);
    let labels = [(labels::BUILT_BY, identity.id.as_str()), (labels::BUILT_FOR, app)];
    let options = BuildImageOptionsBuilder::new()
        .dockerfile("Dockerfile")
        .t(&tag)
        .labels(&HashMap::from(labels))
        .rm(true)
        .forcerm(true)
        .build();
    tracing::info!(app, folder = %folder.display(), "building the image");
    let Context { blocks, outcome } = context::read(folder.to_owned(), state_dir.to_owned());
    let blocks = stream::unfold(blocks, |mut blocks| async move { Some((blocks.recv().await?, blocks)) });
    let body = bollard::body_try_stream(blocks);
    let mut messages = session.docker.build_image(options, Some(credentials), Some(body));
    let mut output = Output { app, open: String::new(), last: LastLines::keeping(LAST_LINES), id: None };
    while let Some(message) = engine.next(Operation::Build, &what, SILENCE, &mut messages).await {
        match message {
            Ok(message) => output.take(message),
            Err(failure) => {
                drop(messages);
                return Err(explain(failure, folder, &output, outcome).await);
            }
        }
    }
    drop(messages);
    let id = match output.id {
        Some(id) => id,
        // An engine that does not say: then it is what now has the tag.
        None => tagged(engine, &tag).await?,
    };
    tracing::info!(app, image = tag, id, "built the image");
    Ok(id)
}

async fn read_dockerfile(folder: &Path) -> Result<String, RuntimeError> {
    let path = folder.join("Dockerfile");
    tokio::fs::read_to_string(&path).await.map_err(|error| {
        RuntimeError::Image(format!(
            "cannot build the image: cannot read its Dockerfile: {error}\n{}",
            path.display()
        ))
    })
}

async fn tagged(engine: &Engine, tag: &str) -> Result<String, RuntimeError> {
    let what = format!("look at image {tag}");
    let inspected = engine
        .call(Operation::InspectImage, &what, LOOK, |docker| async move { docker.inspect_image(tag).await })
        .await;
    let id = inspected.map_err(|failure| failure.explain(&what))?.id;
    id.ok_or_else(|| RuntimeError::Image(format!("the build of {tag} has left no image")))
}

/// The first line is for visitors too, so the folder comes after it, and what the engine says: it may quote a step.
async fn explain(
    failure: Failure,
    folder: &Path,
    output: &Output<'_>,
    outcome: tokio::task::JoinHandle<Result<(), String>>,
) -> RuntimeError {
    if let Failure::Status { message, .. } = failure {
        let hint = if message.contains("requires BuildKit") {
            " (pilotlight uses the engine's classic builder: build it with `docker build`, and name it in `image`)"
        } else {
            ""
        };
        return RuntimeError::Image(format!(
            "cannot build the image of {0}\n{message}{hint}\n{1}, the build's last lines:{2}\nput it right there, and try it with `docker build {1}`",
            output.app,
            folder.display(),
            output.last.text()
        ));
    }
    // Where our own side of the stream broke off, that is the reason. With the call over, the reading ends at
    // its next block, so this does not wait for long.
    if matches!(failure, Failure::Broken(_) | Failure::Unreachable(_))
        && let Ok(Err(text)) = outcome.await
    {
        return RuntimeError::Image(format!(
            "cannot build the image of {}\n{}: {text}",
            output.app,
            folder.display()
        ));
    }
    failure.explain(&format!("build the image of {}", output.app))
}

/// What a build has said so far.
struct Output<'a> {
    app: &'a str,
    /// A line that is not finished.
    open: String,
    last: LastLines,
    id: Option<String>,
}

impl Output<'_> {
    fn take(&mut self, message: BuildInfo) {
        if let Some(id) = message.aux.and_then(|aux| aux.id) {
            self.id = Some(id);
        }
        if let Some(text) = message.stream {
            self.open.push_str(&text);
            while let Some(end) = self.open.find('\n') {
                let line: String = self.open.drain(..=end).collect();
                self.line(line.trim_end());
            }
        }
        // Pulling a base image says something for each block; the steps are enough.
        if let Some(status) = message.status.filter(|_| message.progress_detail.is_none()) {
            self.line(&status);
        }
    }

    fn line(&mut self, line: &str) {
        if !line.is_empty() {
            tracing::info!(app = self.app, "{line}");
            self.last.push(line);
        }
    }
}

/// The images that a Dockerfile builds on, as far as it names them outright: those may need credentials.
fn bases(dockerfile: &str) -> Vec<Reference> {
    let images = dockerfile.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("from"))?;
        words.find(|word| !word.starts_with("--"))
    });
    images.map(Reference::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_images() {
        let text =
            "ARG X=1\nFROM --platform=linux/amd64 ghcr.io/a/b:1 AS build\nRUN echo from\nfrom python:3\n";
        let names: Vec<_> = bases(text).into_iter().map(|base| base.repository).collect();
        assert_eq!(names, ["ghcr.io/a/b", "python"]);
    }

    #[test]
    fn output_is_put_together_by_line() {
        let mut output = Output { app: "web", open: String::new(), last: LastLines::keeping(2), id: None };
        for text in ["Step 1", "/2\n", "\n", "a\nb"] {
            output.take(BuildInfo { stream: Some(text.into()), ..Default::default() });
        }
        assert_eq!(output.last.text(), "\n  Step 1/2\n  a");
    }
}
