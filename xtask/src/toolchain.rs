use anyhow::bail;

use crate::command::{command, output};

/// A program that something here needs.
pub struct Tool {
    program: &'static str,
    version_argument: &'static str,
    /// The lowest major version that works.
    major_min: u32,
    needed_for: &'static str,
    /// How to get it on Debian.
    debian: &'static str,
}

const NODE: Tool = Tool {
    program: "node",
    version_argument: "--version",
    major_min: 20,
    needed_for: "building and testing the web editor",
    debian: "apt-get install nodejs npm (Debian 13), or Node.js 20 or later from nodejs.org",
};

const NPM: Tool = Tool {
    program: "npm",
    version_argument: "--version",
    major_min: 9,
    needed_for: "installing the web editor's packages",
    debian: "apt-get install npm, or with Node.js from nodejs.org",
};

const C_COMPILER: Tool = Tool {
    program: "cc",
    version_argument: "-dumpversion",
    major_min: 8,
    needed_for: "linking, and the C parts of dependencies",
    debian: "apt-get install build-essential",
};

/// Runs Kafka.
pub const JAVA: Tool = Tool {
    program: "java",
    version_argument: "--version",
    major_min: 17,
    needed_for: "running Kafka",
    debian: "apt-get install openjdk-17-jre-headless",
};

/// Installs Kafka.
pub const MAVEN: Tool = Tool {
    program: "mvn",
    version_argument: "--version",
    major_min: 3,
    needed_for: "installing Kafka",
    debian: "apt-get install maven",
};

/// Builds what comes as Go modules.
pub const GO: Tool = Tool {
    program: "go",
    version_argument: "version",
    major_min: 1,
    needed_for: "checking the gRPC API, and the tests of two regions",
    debian: "apt-get install golang-go",
};

/// Checks that everything that building needs is here.
///
/// # Errors
/// One message that names all that is missing and how to get it.
pub fn check() -> anyhow::Result<()> {
    check_for(&[&C_COMPILER, &NODE, &NPM])
}

/// Checks that these tools are here.
///
/// # Errors
/// One message that names all that is missing and how to get it.
pub fn check_for(tools: &[&Tool]) -> anyhow::Result<()> {
    let missing: Vec<_> = tools.iter().copied().filter_map(complaint).collect();
    if !missing.is_empty() {
        bail!("the toolchain is incomplete:\n{}", missing.join("\n"));
    }
    Ok(())
}

fn complaint(tool: &Tool) -> Option<String> {
    let Tool {
        program,
        major_min,
        needed_for,
        debian,
        ..
    } = tool;
    let found = output(command(program, &[tool.version_argument]));
    let problem = match found
        .as_deref()
        .map(|version| (version.lines().next().unwrap_or_default(), major(version)))
    {
        Some((_, Some(major))) if major >= *major_min => return None,
        Some((version, _)) => format!("is {version:?}, and {major_min} or later is needed"),
        None => "is missing".to_owned(),
    };
    Some(format!(
        "  {program} {problem}, for {needed_for}.\n      On Debian: {debian}"
    ))
}

/// The number that the first word with one begins with, maybe after letters, as in `v20` and `go1.26`;
/// Maven prints escape codes before its name.
fn major(version: &str) -> Option<u32> {
    version
        .split_whitespace()
        .map(|word| word.trim_start_matches(|c: char| c.is_ascii_alphabetic()))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_tools_print() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("11.19.1\n"), Some(11));
        assert_eq!(major("12\n"), Some(12));
        assert_eq!(major("openjdk 17.0.15 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(major("\u{1b}[1mApache Maven 3.8.7\u{1b}[m\n"), Some(3));
        assert_eq!(major("go version go1.26.8 linux/amd64\n"), Some(1));
        assert_eq!(major("unknown"), None);
    }

    #[test]
    fn a_missing_tool_is_named_with_the_way_to_get_it() {
        let tool = Tool {
            program: "no-such-program",
            ..C_COMPILER
        };
        let complaint = complaint(&tool).unwrap();
        assert!(
            complaint.contains("no-such-program is missing"),
            "{complaint}"
        );
        assert!(
            complaint.contains("apt-get install build-essential"),
            "{complaint}"
        );
    }
}
