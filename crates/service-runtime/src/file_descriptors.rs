/// The limit of open files can't be read or raised.
#[derive(Debug, thiserror::Error)]
#[error("the limit of open files can't be raised")]
pub struct FileDescriptorError(#[from] std::io::Error);

/// Raises this process's limit of open files to the most that the system allows it, and says what it
/// is now. Every socket is a file, and the usual soft limit of 1,024 would be the first to be hit.
///
/// # Errors
/// [`FileDescriptorError`] if the system refuses to read or raise it; the limit is then what it was.
pub fn raise_file_descriptor_limit() -> Result<u64, FileDescriptorError> {
    Ok(rlimit::increase_nofile_limit(u64::MAX)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let raised = raise_file_descriptor_limit().unwrap();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, raised), (hard, hard));
    }
}
