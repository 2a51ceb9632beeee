//! Import: the objects of an export as new objects, in one transaction. Nothing of it is executed; methods pass the guard.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use guard::Expectation;
use shared::bridge::{Answer, Fault, Unit};
use shared::id::{ObjectId, TransactionId};
use shared::json::to_hex;
use shared::object::is_slot_name;
use shared::reason;
use shared::value::Value;

use crate::description::{self, Description};
use crate::edit::name_in_lobby;
use crate::export::{ExportManifest, FORMAT, KIND, file_of};
use crate::image::blob::{Content, digest_of, relative_path};
use crate::image::draft::Draft;
use crate::kernel::{Asker, Kernel, findings};
use crate::reporter::Reporter;
use crate::transfers;

/// The longest description; what one transaction can hold.
const MAX_FILE_BYTES: u64 = 64 << 20;
const PIECE_BYTES: usize = 1 << 20;

impl Kernel {
    /// Makes the objects. With a name, the one object that the export was made of stands in the lobby under it.
    pub async fn import(
        self: &Arc<Self>,
        asker: Asker,
        folder: String,
        name: Option<String>,
    ) -> Result<Answer, Fault> {
        let kernel = self.clone();
        let (author, reporter) = (asker.author.clone(), asker.reporter.clone());
        let work = move || kernel.draft_of(author, Path::new(&folder), name, &reporter);
        let done = tokio::task::spawn_blocking(work).await;
        let (draft, answer) =
            done.unwrap_or_else(|error| Err(Fault::new(reason::INTERNAL, error.to_string())))?;
        self.commit_edit(&asker, draft, answer).await
    }

    fn draft_of(
        &self,
        author: String,
        folder: &Path,
        name: Option<String>,
        reporter: &Reporter,
    ) -> Result<(Draft, Answer), Fault> {
        if !folder.is_absolute() {
            return Err(refused(format!("{} is no absolute path", folder.display())));
        }
        let manifest = manifest(folder)?;
        let objects = manifest.objects.iter();
        let ids: HashMap<&str, ObjectId> = objects
            .map(|name| (name.as_str(), self.image.state.allocate()))
            .collect();
        let mut draft = Draft::new(author);
        let total = manifest.objects.len() as u64;
        reporter.begin("reading the objects", Unit::Objects, Some(total));
        for name in &manifest.objects {
            let description = self.describe(folder, &manifest, name, &ids)?;
            draft.changes.extend(description.changes(ids[name.as_str()]));
            reporter.add(1);
        }
        let bytes = manifest.blobs.iter().map(|blob| blob.bytes).sum();
        reporter.begin("reading the contents", Unit::Bytes, Some(bytes));
        for blob in &manifest.blobs {
            self.bring_blob(folder, &blob.digest)?;
            reporter.add(blob.bytes);
        }
        let mut roots = Vec::new();
        for root in &manifest.roots {
            let id = ids.get(root.as_str());
            let id = id.ok_or_else(|| refused(format!("{root} is a root and no object of the manifest")))?;
            roots.push((root.clone(), *id));
        }
        match (name, &roots[..]) {
            (None, _) => {}
            (Some(name), [(_, root)]) => name_in_lobby(self.world(), &mut draft, name, *root)?,
            (Some(_), _) => {
                return Err(refused(format!(
                    "the export was made of {} objects; only one can have the name",
                    roots.len()
                )));
            }
        }
        let answer = Answer::Imported {
            roots,
            objects: ids.len() as u64,
            transaction: TransactionId(0),
        };
        Ok((draft, answer))
    }

    fn describe(
        &self,
        folder: &Path,
        manifest: &ExportManifest,
        name: &str,
        ids: &HashMap<&str, ObjectId>,
    ) -> Result<Description, Fault> {
        let path = folder.join(file_of(name));
        let in_file = |what: &str| refused(format!("{}: {what}", path.display()));
        let source = text(&path)?;
        let own = to_hex(&self.image.id);
        let find = |name: &str| match ids.get(name) {
            Some(id) => Ok(*id),
            None if name.starts_with('#') && manifest.image != own => {
                Err(format!("{name} is an object of another image"))
            }
            None => self.resolve(name).map_err(|fault| fault.message),
        };
        let description = description::read(&source, &find).map_err(|what| in_file(&what))?;
        for (slot, value) in &description.slots {
            self.judge(&path, slot, value)?;
        }
        for (_, value) in &description.entries {
            self.judge(&path, "", value)?;
        }
        Ok(description)
    }

    /// The guard's verdict on every method in a value; that of a slot must have its name.
    fn judge(&self, path: &Path, slot: &str, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Method(source) => {
                let expected = match slot {
                    "" => Expectation::any(),
                    slot => Expectation::selector(slot),
                };
                let verdict = guard::check(source, &expected);
                if verdict.is_ok() || self.install_refused {
                    return Ok(());
                }
                let found = findings(&verdict);
                let first = found
                    .first()
                    .map_or(String::new(), |f| format!(": line {}: {}", f.line, f.message));
                let mut fault = Fault::new(
                    reason::GUARD_REFUSED,
                    format!("{}: the guard refused the method {slot}{first}", path.display()),
                );
                fault.findings = found;
                Err(fault)
            }
            Value::List(items) => items.iter().try_for_each(|item| self.judge(path, "", item)),
            Value::Map(pairs) => pairs
                .iter()
                .flat_map(|(key, value)| [key, value])
                .try_for_each(|item| self.judge(path, "", item)),
            _ => Ok(()),
        }
    }

    /// Keeps a content of the export, unless it is here.
    fn bring_blob(&self, folder: &Path, digest: &str) -> Result<(), Fault> {
        let fault = |error| transfers::fault(&error);
        let known = digest_of(digest).ok_or_else(|| refused(format!("{digest:?} is no hash")))?;
        let blobs = &self.image.state.blobs;
        let path = folder.join("blobs").join(relative_path(&known));
        if blobs.length(&known).map_err(fault)?.is_some() || !path.exists() {
            // One that is nowhere is refused by the commit, if anything names it.
            return Ok(());
        }
        let mut content = Content::open(path, known).map_err(fault)?;
        let mut upload = blobs.begin().map_err(fault)?;
        loop {
            let (bytes, is_last) = content.next(PIECE_BYTES).map_err(fault)?;
            upload.write(&bytes).map_err(fault)?;
            if is_last {
                return blobs.keep(upload).map(|_| ()).map_err(fault);
            }
        }
    }
}

fn manifest(folder: &Path) -> Result<ExportManifest, Fault> {
    let path = folder.join("manifest.json");
    let wrong = |what: String| refused(format!("{}: {what}", path.display()));
    let document: serde_json::Value = serde_json::from_str(&text(&path)?)
        .map_err(|error| wrong(format!("not the manifest of an export: {error}")))?;
    if document["kind"] != KIND {
        return Err(wrong("not the manifest of an export".into()));
    }
    match document["format"].as_u64() {
        Some(format) if format > u64::from(FORMAT) => {
            return Err(wrong(format!("format {format} was made by a newer version")));
        }
        _ => {}
    }
    let manifest: ExportManifest =
        serde_json::from_value(document).map_err(|error| wrong(error.to_string()))?;
    let mut seen = std::collections::HashSet::new();
    for name in &manifest.objects {
        // So that no name leads out of the folder.
        if !name.split('.').all(is_slot_name) || !seen.insert(name) {
            return Err(wrong(format!("{name:?} stands there twice, or is no name")));
        }
    }
    Ok(manifest)
}

fn text(path: &Path) -> Result<String, Fault> {
    let failed = |what: String| refused(format!("{}: {what}", path.display()));
    let bytes = fs::metadata(path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if bytes > MAX_FILE_BYTES {
        return Err(failed(format!(
            "it has {bytes} bytes, more than {MAX_FILE_BYTES}"
        )));
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| failed(error.to_string()))?;
    Ok(text)
}

fn refused(what: String) -> Fault {
    Fault::new(reason::BAD_ARGUMENT, format!("nothing was imported: {what}"))
}
