//! What libalpm knows: the sync databases, the installed packages, and the files of packages in the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alpm::{Alpm, SigLevel};
use dkms_core::names::Release;
use dkms_hooks_pacman::preflight::{Headers, Packages, holders};

/// The databases of the system that pacman is working on. pacman holds their lock; reading needs none.
pub struct Databases {
    alpm: Alpm,
    caches: Vec<PathBuf>,
    kernels: Vec<Kernel>,
}

/// A package of a sync database whose base has a headers package.
struct Kernel {
    name: String,
    version: String,
    file: Option<String>,
    /// The headers package.
    headers: String,
}

impl Databases {
    /// Opens the databases in `db_path` of the root `/`: the installed packages and every sync database that is there.
    /// `caches` are the directories where pacman keeps packages.
    pub fn open(db_path: &str, caches: &[PathBuf]) -> alpm::Result<Self> {
        let alpm = Alpm::new("/", db_path)?;
        for entry in
            std::fs::read_dir(format!("{}/sync", db_path.trim_end_matches('/'))).into_iter().flatten().flatten()
        {
            let file = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = file.strip_suffix(".db") {
                // Signatures were checked by pacman, which installs from them; we only read names.
                alpm.register_syncdb(name, SigLevel::NONE)?;
            }
        }
        let kernels = kernels(&alpm);
        Ok(Self { alpm, caches: caches.to_vec(), kernels })
    }

    /// Whether the package file in a cache holds the kernel; `None` if there is no such file.
    fn file_holds(&self, file: &str, release: &Release) -> Option<bool> {
        let path = self.caches.iter().map(|cache| cache.join(file)).find(|path| path.is_file())?;
        let package = self.alpm.pkg_load(path.into_os_string().into_encoded_bytes(), true, SigLevel::NONE).ok()?;
        Some(package.files().contains(format!("usr/lib/modules/{release}/")).is_some())
    }
}

/// The kernels of the sync databases. Lists are gone through, not asked by name: the bindings' `Db::pkg` needs a
/// function that libalpm 13 does not have.
fn kernels(alpm: &Alpm) -> Vec<Kernel> {
    // `<base>-headers` to the package that is called so or, failing that, provides it.
    let (mut called, mut provided) = (BTreeMap::new(), BTreeMap::new());
    let mut bases = Vec::new();
    for package in alpm.syncdbs().iter().flat_map(|db| db.pkgs()) {
        let name = package.name();
        if name.ends_with("-headers") {
            called.entry(name.to_owned()).or_insert_with(|| name.to_owned());
        }
        for provides in package.provides().iter().filter(|provides| provides.name().ends_with("-headers")) {
            provided.entry(provides.name().to_owned()).or_insert_with(|| name.to_owned());
        }
        if package.base().is_none_or(|base| base == name) {
            bases.push(package);
        }
    }
    let kernel = |package: &alpm::Package| {
        let headers = format!("{}-headers", package.name());
        Some(Kernel {
            name: package.name().to_owned(),
            version: package.version().to_string(),
            file: package.filename().map(str::to_owned),
            headers: called.get(&headers).or_else(|| provided.get(&headers))?.clone(),
        })
    };
    bases.into_iter().filter_map(kernel).collect()
}

impl Packages for Databases {
    fn headers(&self, release: &Release) -> Option<Headers> {
        let kernels = &self.kernels;
        let versions: Vec<(String, String)> = kernels.iter().map(|k| (k.name.clone(), k.version.clone())).collect();
        let likely = holders(release, &versions);
        let of = |name: &&str| kernels.iter().find(|kernel| kernel.name == *name);
        // By name where that decides; by what is in the package where several may or none seems to be it.
        let holds =
            |kernel: &&Kernel| kernel.file.as_ref().and_then(|file| self.file_holds(file, release)) == Some(true);
        let kernel = match likely.as_slice() {
            [only] => of(only),
            [] => kernels.iter().find(holds),
            several => several.iter().filter_map(of).find(holds).or_else(|| several.first().and_then(of)),
        }?;
        let installed = self.alpm.localdb().pkgs().iter().find(|package| package.name() == kernel.headers);
        let installed = installed.map(|package| package.version().to_string());
        Some(Headers { package: kernel.headers.clone(), installed })
    }
}
