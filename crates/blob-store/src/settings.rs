//! Where blobs are kept, as plain data that an address tells.

use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path;
use url::Url;

/// Where a store keeps its blobs, as an address:
///
/// | address | place |
/// |---|---|
/// | `file:///var/lib/collabedit/blobs` | a directory |
/// | `s3://BUCKET/PREFIX?region=eu-central-1` | S3 |
/// | `s3://BUCKET?endpoint=https://s3.example.com` | what speaks its protocol |
/// | `s3://BUCKET?endpoint=http://127.0.0.1:9000&allow_http=true` | the same without TLS |
/// | `gs://BUCKET/PREFIX` | Google Cloud Storage |
///
/// No part of it is secret: credentials come from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobSettings {
    /// A directory of this machine, which is created if there is none.
    Directory {
        /// The directory, as an absolute path.
        path: PathBuf,
    },
    /// S3, or what speaks its protocol.
    S3(S3Settings),
    /// Google Cloud Storage.
    GoogleCloud {
        /// The bucket's name.
        bucket: String,
        /// What all names in it begin with.
        prefix: Path,
    },
}

/// A bucket of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// What all names in it begin with.
    pub prefix: Path,
    /// Where the bucket is; the environment says it, or it is `us-east-1`.
    pub region: Option<String>,
    /// The server, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// Whether an `http` endpoint may be used, over which blobs go unencrypted.
    pub allow_http: bool,
}

/// What is wrong with an address. None of it repeats the address, in case somebody has put a secret
/// into it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// It is not an address.
    #[error(
        "the blob store's address is none: {0}; it is like file:///DIRECTORY or s3://BUCKET/PREFIX"
    )]
    NotAnAddress(url::ParseError),
    /// It begins with something that is no store.
    #[error("there is no blob store {0}://; there are file://, s3:// and gs://")]
    UnknownScheme(String),
    /// It names a user or a password.
    #[error("the blob store's address must not hold credentials; they come from the environment")]
    Credentials,
    /// It names no bucket.
    #[error("the blob store's address names no bucket; it is like {0}://BUCKET/PREFIX")]
    NoBucket(&'static str),
    /// What follows the bucket can't be what names begin with.
    #[error("the prefix in the blob store's address can't be used: {0}")]
    BadPrefix(String),
    /// It is a directory of another machine, or no directory.
    #[error(
        "the blob store's directory must be an absolute one of this machine, like file:///DIRECTORY"
    )]
    BadDirectory,
    /// A store of this kind has no such option.
    #[error("the blob store's address has an option {found:?}; {possible}")]
    UnknownOption {
        /// Its name.
        found: String,
        /// What there is.
        possible: &'static str,
    },
    /// An option is there twice.
    #[error("the blob store's address has the option {0:?} twice")]
    RepeatedOption(&'static str),
    /// An option's value is none of those that it can have.
    #[error("the option {option:?} of the blob store's address must be {expected}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// The endpoint is not encrypted, and nobody said that this is meant.
    #[error(
        "the blob store's endpoint is http://, over which blobs go unencrypted; add allow_http=true if \
         that is meant"
    )]
    PlainHttp,
}

impl FromStr for BlobSettings {
    type Err = BadSettings;

    fn from_str(address: &str) -> Result<Self, BadSettings> {
        let url = Url::parse(address).map_err(BadSettings::NotAnAddress)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadSettings::Credentials);
        }
        match url.scheme() {
            "file" => {
                no_options(&url)?;
                let path = url.to_file_path().map_err(|()| BadSettings::BadDirectory)?;
                Ok(Self::Directory { path })
            }
            "s3" => s3(&url).map(Self::S3),
            "gs" => {
                no_options(&url)?;
                let (bucket, prefix) = bucket_and_prefix(&url, "gs")?;
                Ok(Self::GoogleCloud { bucket, prefix })
            }
            other => Err(BadSettings::UnknownScheme(other.to_owned())),
        }
    }
}

fn no_options(url: &Url) -> Result<(), BadSettings> {
    match url.query_pairs().next() {
        None => Ok(()),
        Some((found, _)) => Err(BadSettings::UnknownOption {
            found: found.into_owned(),
            possible: "this kind of store has none",
        }),
    }
}

fn bucket_and_prefix(url: &Url, scheme: &'static str) -> Result<(String, Path), BadSettings> {
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty());
    let bucket = bucket.ok_or(BadSettings::NoBucket(scheme))?.to_owned();
    let prefix = Path::from_url_path(url.path())
        .map_err(|error| BadSettings::BadPrefix(error.to_string()))?;
    Ok((bucket, prefix))
}

fn s3(url: &Url) -> Result<S3Settings, BadSettings> {
    let (bucket, prefix) = bucket_and_prefix(url, "s3")?;
    let (mut region, mut endpoint, mut allow_http) = (None, None, None);
    for (name, value) in url.query_pairs() {
        let (option, place) = match &*name {
            "region" => ("region", &mut region),
            "endpoint" => ("endpoint", &mut endpoint),
            "allow_http" => ("allow_http", &mut allow_http),
            _ => {
                return Err(BadSettings::UnknownOption {
                    found: name.into_owned(),
                    possible: "there are region, endpoint and allow_http",
                });
            }
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(BadSettings::RepeatedOption(option));
        }
    }
    let allow_http = match allow_http.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(BadSettings::BadOption {
                option: "allow_http",
                expected: "true or false",
            });
        }
    };
    if region.as_deref() == Some("") {
        return Err(BadSettings::BadOption {
            option: "region",
            expected: "the name of a region",
        });
    }
    if let Some(endpoint) = &endpoint {
        check_endpoint(endpoint, allow_http)?;
    }
    Ok(S3Settings {
        bucket,
        prefix,
        region,
        endpoint,
        allow_http,
    })
}

fn check_endpoint(endpoint: &str, allow_http: bool) -> Result<(), BadSettings> {
    let bad = BadSettings::BadOption {
        option: "endpoint",
        expected: "an address like https://HOST or https://HOST:PORT",
    };
    let Ok(url) = Url::parse(endpoint) else {
        return Err(bad);
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadSettings::Credentials);
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err(BadSettings::PlainHttp),
        _ => return Err(bad),
    }
    if !url.has_host() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Result<BlobSettings, BadSettings> {
        address.parse()
    }

    #[test]
    fn every_kind_of_address_is_understood() {
        assert_eq!(
            parse("file:///var/lib/blobs%20here").unwrap(),
            BlobSettings::Directory {
                path: "/var/lib/blobs here".into()
            }
        );
        assert_eq!(
            parse("gs://bucket/a/b/").unwrap(),
            BlobSettings::GoogleCloud {
                bucket: "bucket".to_owned(),
                prefix: Path::from("a/b")
            }
        );
        let amazons = S3Settings {
            bucket: "my_bucket.one".to_owned(),
            prefix: Path::from("a"),
            region: Some("eu-central-1".to_owned()),
            endpoint: None,
            allow_http: false,
        };
        assert_eq!(
            parse("s3://my_bucket.one/a?region=eu-central-1").unwrap(),
            BlobSettings::S3(amazons.clone())
        );
        let other = S3Settings {
            bucket: "bucket".to_owned(),
            prefix: Path::default(),
            region: None,
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            allow_http: true,
        };
        assert_eq!(
            parse("s3://bucket?endpoint=http://127.0.0.1:9000&allow_http=true").unwrap(),
            BlobSettings::S3(other)
        );
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        let cases = [
            ("blobs", "is none"),
            ("ftp://host/blobs", "no blob store ftp://"),
            ("file://elsewhere/blobs", "of this machine"),
            (
                "file:///blobs?fsync=no",
                "\"fsync\"; this kind of store has none",
            ),
            ("s3:///prefix", "names no bucket"),
            ("s3://bucket/a//b", "prefix"),
            ("s3://bucket/a%00b", "prefix"),
            ("s3://bucket?regoin=x", "\"regoin\"; there are region"),
            ("s3://bucket?region=", "the name of a region"),
            ("s3://bucket?region=a&region=b", "\"region\" twice"),
            ("s3://bucket?allow_http=yes", "true or false"),
            ("s3://bucket?endpoint=example.com", "like https://HOST"),
            (
                "s3://bucket?endpoint=ftp://example.com",
                "like https://HOST",
            ),
            ("s3://bucket?endpoint=http://example.com", "allow_http=true"),
        ];
        for (address, expected) in cases {
            let error = parse(address).unwrap_err().to_string();
            assert!(error.contains(expected), "{address}: {error}");
        }
    }

    #[test]
    fn a_secret_in_an_address_is_refused_and_not_repeated() {
        let addresses = [
            "s3://key:hunter2@bucket",
            "gs://hunter2@bucket",
            "s3://bucket?endpoint=https://key:hunter2@example.com",
            "s3://bucket?secret_access_key=hunter2",
        ];
        for address in addresses {
            let error = parse(address).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
