//! Where the library is: the directory NORMKERNELS_LIB_DIR, or else what pkg-config says.
use std::env;
use std::path::Path;
use std::process::{exit, Command};

fn main() {
    for variable in ["NORMKERNELS_LIB_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let flags = match env::var("NORMKERNELS_LIB_DIR") {
        Ok(directory) => Ok(vec![format!("-L{directory}")]),
        Err(_) => pkg_config(),
    };
    let flags = flags.unwrap_or_else(|why| {
        eprintln!("normkernels is not found: {why}");
        eprintln!("PKG_CONFIG_PATH must have the directory of normkernels.pc, or NORMKERNELS_LIB_DIR be that of the library");
        exit(1);
    });
    let is_static = env::var_os("CARGO_FEATURE_STATIC").is_some();
    for flag in &flags {
        if let Some(directory) = flag.strip_prefix("-L") {
            require(directory, is_static);
            println!("cargo:rustc-link-search=native={directory}");
            println!("cargo:lib_dir={directory}"); // DEP_NORMKERNELS_LIB_DIR of who depends on this
        } else if flag.starts_with("-Wl,") {
            // A wheel's library is found from where it lies, by this crate's own programs alone.
            println!("cargo:rustc-link-arg={flag}");
        }
    }
    // The library needs nothing but the C library and its threads, which std links already.
    let kind = if is_static { "static" } else { "dylib" };
    println!("cargo:rustc-link-lib={kind}=normkernels");
}

fn pkg_config() -> Result<Vec<String>, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_string());
    // Also of a directory where the compiler looks anyway, because rustc does not look there for static libraries.
    let done = Command::new(&program)
        .env("PKG_CONFIG_ALLOW_SYSTEM_LIBS", "1")
        .args(["--libs", "normkernels"])
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let printed = words(&String::from_utf8_lossy(&done.stdout));
    // Some that Python packages bring end well without having found anything.
    if !done.status.success() || !printed.iter().any(|flag| flag == "-lnormkernels") {
        return Err(String::from_utf8_lossy(&done.stderr).trim().to_string());
    }
    Ok(printed)
}

/// The flags, whose spaces and other special characters have a backslash before them.
fn words(escaped: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut rest = escaped.chars();
    while let Some(character) = rest.next() {
        if character.is_whitespace() {
            words.push(String::new());
            continue;
        }
        let plain = if character == '\\' { rest.next() } else { Some(character) };
        words.last_mut().unwrap().extend(plain);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Says which file is missing, before a linker says that some function is.
fn require(directory: &str, is_static: bool) {
    let names: &[&str] = if is_static {
        &["libnormkernels.a"]
    } else {
        &["libnormkernels.so", "libnormkernels.dylib"]
    };
    if !names.iter().any(|name| Path::new(directory).join(name).exists()) {
        let other =
            if is_static { "leave the feature `static` out" } else { "try the feature `static`" };
        eprintln!("there is no {} in {directory}: {other}", names[0]);
        exit(1);
    }
}
