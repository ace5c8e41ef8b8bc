//! Which package brings a tool that a build needs.

use super::Distribution;

/// What to do about a missing `program` (make, a compiler, patch), in a sentence.
pub fn advise(distribution: &Distribution, program: &str) -> String {
    let word = program.rsplit('/').next().unwrap_or(program);
    let command = if distribution.is_like(&["debian", "ubuntu"]) {
        // Compilers carry the machine in front: x86_64-linux-gnu-gcc-14 is in gcc-14.
        let package = word.find("gcc").map_or(word, |at| &word[at..]);
        format!("apt install {package}")
    } else if distribution.is_like(&["fedora", "centos", "rhel"]) {
        format!("dnf install {word}")
    } else if distribution.is_like(&["sles", "suse", "opensuse"]) {
        format!("zypper install {word}")
    } else if distribution.is_like(&["arch"]) {
        format!("pacman -S {word}")
    } else {
        return format!("Install {word} with your package manager.");
    };
    format!("Please install it: {command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_names_the_compiler_without_the_machine() {
        let debian = Distribution::parse("ID=debian\n");
        assert_eq!(advise(&debian, "x86_64-linux-gnu-gcc-14"), "Please install it: apt install gcc-14");
        assert_eq!(advise(&debian, "make"), "Please install it: apt install make");
    }
}
