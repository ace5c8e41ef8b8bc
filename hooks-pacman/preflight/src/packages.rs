//! What libalpm knows: the sync databases, the installed packages, and the files of packages in the cache.

use std::path::PathBuf;

use alpm::{Alpm, SigLevel};
use dkms_core::names::Release;
use hooks_pacman::preflight::{Headers, Packages, holders};

/// The databases of the system that pacman is working on. pacman holds their lock; reading needs none.
pub struct Databases {
    alpm: Alpm,
    caches: Vec<PathBuf>,
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
        Ok(Self { alpm, caches: caches.to_vec() })
    }

    /// Every package of the sync databases whose base has a headers package: name, version, base, file.
    fn kernels(&self) -> Vec<Kernel> {
        let mut kernels = Vec::new();
        for db in self.alpm.syncdbs() {
            for package in db.pkgs() {
                let base = package.base().unwrap_or_else(|| package.name()).to_owned();
                if package.name() == base && self.headers_of(&base).is_some() {
                    kernels.push(Kernel {
                        name: package.name().to_owned(),
                        version: package.version().to_string(),
                        file: package.filename().map(str::to_owned),
                        base,
                    });
                }
            }
        }
        kernels
    }

    /// The package that is, or provides, `<base>-headers`.
    fn headers_of(&self, base: &str) -> Option<String> {
        let name = format!("{base}-headers");
        let find = |db: &alpm::Db| db.pkg(name.as_str()).ok().map(|package| package.name().to_owned());
        self.alpm.syncdbs().iter().find_map(find).or_else(|| {
            let provides = |package: &&alpm::Package| package.provides().iter().any(|dep| dep.name() == name);
            self.alpm
                .syncdbs()
                .iter()
                .find_map(|db| db.pkgs().iter().find(provides).map(|package| package.name().to_owned()))
        })
    }

    /// Whether the package file in a cache holds the kernel; `None` if there is no such file.
    fn file_holds(&self, file: &str, release: &Release) -> Option<bool> {
        let path = self.caches.iter().map(|cache| cache.join(file)).find(|path| path.is_file())?;
        let package = self.alpm.pkg_load(path.into_os_string().into_encoded_bytes(), true, SigLevel::NONE).ok()?;
        Some(package.files().contains(format!("usr/lib/modules/{release}/")).is_some())
    }
}

struct Kernel {
    name: String,
    version: String,
    base: String,
    file: Option<String>,
}

impl Packages for Databases {
    fn headers(&self, release: &Release) -> Option<Headers> {
        let kernels = self.kernels();
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
        let package = self.headers_of(&kernel.base)?;
        let installed = self.alpm.localdb().pkg(package.as_str()).ok().map(|package| package.version().to_string());
        Some(Headers { package, installed })
    }
}
