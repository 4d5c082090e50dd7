//! A server of the S3 protocol on this host, with its objects in a folder.

use std::path::Path;
use std::thread;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime;

const KEY: &str = "refan";
const SECRET: &str = "tests";
const BUCKET: &str = "bucket";

/// A running server; it ends with the process.
pub struct Server {
    endpoint: String,
}

impl Server {
    /// Starts one with an empty bucket in a folder.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir(folder.join(BUCKET)).expect("a bucket");
        let files = FileSystem::new(folder).expect("a file system");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            runtime.block_on(async move {
                loop {
                    let (connection, _) = listener.accept().await.expect("a connection");
                    let service = service.clone();
                    tokio::spawn(async move {
                        let connection = TokioIo::new(connection);
                        // Of a client that was killed nothing more comes.
                        let _ = Builder::new(TokioExecutor::new())
                            .serve_connection(connection, service)
                            .await;
                    });
                }
            })
        });
        Self { endpoint }
    }

    /// A store in it.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/campaigns/kcov")
    }

    /// What a process has to know to use it.
    pub fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ]
    }
}
