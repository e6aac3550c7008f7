//! Files in the program's folder, and how it is expected to fail.

use super::program::{Folder, Outcome};

impl Outcome {
    /// Checks that it ended with this status and an error that has these words, and printed no result.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &str) {
        let Outcome { code: found, output, errors } = self;
        assert_eq!(found, Some(code), "{output}\n{errors}");
        assert!(errors.contains("error: ") && errors.contains(words), "{words:?} is not in: {errors}");
        assert!(!errors.contains("panicked") && output.is_empty(), "{errors}\n{output}");
    }
}

impl Folder {
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }
}
