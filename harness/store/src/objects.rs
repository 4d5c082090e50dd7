//! A folder of objects, wherever it is.

use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, RetryConfig};
use tokio::runtime::Runtime;
use url::Url;

/// Requests that are under way at once.
const AT_ONCE: usize = 16;

/// How long a request is repeated before it has failed: a campaign goes on meanwhile, and tries again later.
const PATIENCE: Duration = Duration::from_secs(20);

/// What goes wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No store can be called so.
    #[error(
        "`{0}` is no object store: a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX"
    )]
    Location(String),
    /// It cannot be set up as the environment says.
    #[error("the object store {url} cannot be used: {why}")]
    Open {
        /// Its location.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A request has failed.
    #[error("cannot {doing} {what}")]
    Request {
        /// What was tried.
        doing: &'static str,
        /// With which object or folder.
        what: String,
        /// Why it failed.
        #[source]
        source: object_store::Error,
    },
}

/// A folder of objects.
#[derive(Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    below: Path,
    /// Requests are awaited here: whoever calls has nothing else to do.
    runtime: Runtime,
}

impl Objects {
    /// The store at a location: a folder of this host, which is made, or a URL. What a URL needs beside (keys,
    /// regions, other endpoints) is taken from the environment variables that its service's own tools know.
    ///
    /// # Errors
    /// There can be none of that location or with that environment. Whether it can be reached only a request
    /// tells.
    pub fn open(location: &str) -> Result<Self, Error> {
        let failed = |why: String| Error::Open { url: location.to_owned(), why };
        let (store, below) = match Url::parse(location) {
            Ok(url) => at(&url).map_err(|why| match why {
                Some(why) => failed(why),
                None => Error::Location(location.to_owned()),
            })?,
            Err(_) if location.contains("://") || location.is_empty() => {
                return Err(Error::Location(location.to_owned()));
            }
            Err(_) => (folder(location.as_ref()).map_err(failed)?, Path::default()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        Ok(Self { store, below, runtime })
    }

    /// The names of the objects below a folder.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn list(&self, folder: &str) -> Result<BTreeSet<String>, Error> {
        let path = self.path(folder);
        let name = |found: object_store::ObjectMeta| {
            let parts = found.location.prefix_match(&path)?;
            let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            Some(parts.join("/"))
        };
        let listed = self.store.list(Some(&path)).try_collect::<Vec<_>>();
        let listed = self.runtime.block_on(listed).map_err(failed("list", &path))?;
        Ok(listed.into_iter().filter_map(name).collect())
    }

    /// Reads objects, some at a time; `take` gets each with its name, in any order.
    ///
    /// # Errors
    /// The store does not answer, or `take` fails. One that is gone is left out.
    pub fn read<E: From<Error>>(
        &self,
        folder: &str,
        names: impl IntoIterator<Item = String>,
        mut take: impl FnMut(String, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let read = |name: String| async move {
            let path = self.path(&format!("{folder}/{name}"));
            let content = match self.store.get(&path).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            match content {
                Ok(content) => Ok(Some((name, content))),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(failed("read", &path)(error)),
            }
        };
        self.runtime.block_on(async {
            let mut answers =
                futures_util::stream::iter(names.into_iter().map(read)).buffer_unordered(AT_ONCE);
            while let Some(answer) = answers.try_next().await? {
                if let Some((name, content)) = answer {
                    take(name, content.into())?;
                }
            }
            Ok(())
        })
    }

    /// Writes objects, some at a time; `written` is told the name of each.
    ///
    /// # Errors
    /// One cannot be written; others may have been.
    pub fn write(
        &self,
        folder: &str,
        objects: impl IntoIterator<Item = (String, Vec<u8>)>,
        mut written: impl FnMut(String),
    ) -> Result<(), Error> {
        let write = |(name, content): (String, Vec<u8>)| async move {
            let path = self.path(&format!("{folder}/{name}"));
            let put = self.store.put(&path, content.into()).await;
            put.map(|_| name).map_err(failed("write", &path))
        };
        self.runtime.block_on(async {
            let mut answers = futures_util::stream::iter(objects.into_iter().map(write))
                .buffer_unordered(AT_ONCE);
            while let Some(name) = answers.try_next().await? {
                written(name);
            }
            Ok(())
        })
    }

    fn path(&self, below: &str) -> Path {
        self.below.parts().chain(Path::from(below).parts()).collect()
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> Error {
    let what = path.to_string();
    move |source| Error::Request { doing, what, source }
}

/// The store of a URL, and the folder in it; `None` as the error where none is called so.
fn at(url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), Option<String>> {
    let (scheme, below) = ObjectStoreScheme::parse(url).map_err(|_| None)?;
    // Where one is chosen already, it stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
    let told = |error: object_store::Error| Some(error.to_string());
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local => {
            let path = url.to_file_path().map_err(|()| None)?;
            return Ok((folder(&path).map_err(Some)?, Path::default()));
        }
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::from_env().with_url(url.as_str());
            Arc::new(builder.with_retry(retry).build().map_err(told)?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
            Arc::new(builder.with_retry(retry).build().map_err(told)?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str());
            Arc::new(builder.with_retry(retry).build().map_err(told)?)
        }
        _ => return Err(None),
    };
    Ok((store, below))
}

fn folder(path: &FilePath) -> Result<Arc<dyn ObjectStore>, String> {
    std::fs::create_dir_all(path).map_err(|error| format!("it cannot be made: {error}"))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| error.to_string())?;
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_called_by_folder_or_url() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("made/here");
        let objects = Objects::open(path.to_str().expect("text")).expect("a store");
        assert!(path.is_dir() && objects.list("corpus").expect("a list").is_empty());
        let url = Url::from_file_path(&path).expect("a URL");
        assert!(Objects::open(url.as_str()).is_ok());
        for wrong in ["ftp://somewhere/x", "s3:/bucket", "http://here/x", "", "nothing://"] {
            let error = Objects::open(wrong).expect_err(wrong).to_string();
            assert!(error.contains("s3://BUCKET/PREFIX"), "{error}");
        }
    }

    #[test]
    fn stores_of_the_clouds_are_set_up() {
        for url in ["s3://bucket/a/b", "abfss://container@account.dfs.core.windows.net/a/b"] {
            let objects = Objects::open(url).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(objects.path("corpus/x").to_string(), "a/b/corpus/x");
        }
        assert!(Objects::open("gs://bucket/a/b").is_ok());
    }
}
