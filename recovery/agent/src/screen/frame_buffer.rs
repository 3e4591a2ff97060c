//! Puts a picture onto the endpoint's frame buffer, and keeps the kernel's console from drawing over it.
//!
//! All of it by files (fb(4), and the kernel's `Documentation/ABI/testing/sysfs-class-graphics` and `…/sysfs-platform-…vtconsole`):
//! size and layout from `/sys/class/graphics/fb0`, pixels by writing into `/dev/fb0`, the console taken off and put back by
//! `/sys/class/vtconsole/*/bind`. So it needs neither `ioctl` nor `mmap`, and no `unsafe`. One thing these files do not tell: whether
//! red or blue comes first. It is blue on nearly every board; where it is red, yellow is cyan and red is blue, as strong and as
//! well told by their words and signs (a test holds the contrast either way).
//!
//! It must never keep the screen once it failed: dropped, it gives the console back.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::picture::Picture;
use super::raster::{Rgb, Size};

/// What the kernel calls the text console that draws into a frame buffer.
const CONSOLE: &str = "frame buffer device";
const CLASS: &str = "/sys/class";

/// A frame buffer that shows our picture.
pub struct FrameBuffer {
    pixels: File,
    layout: Layout,
    shown: Option<Picture>,
    /// `bind` of each console that was taken off.
    taken: Vec<PathBuf>,
}

/// How pixels lie in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    size: Size,
    /// Bytes from one line to the next.
    stride: usize,
    format: Format,
}

/// Red, green and blue in little-endian words of 16, 24 or 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Rgb565,
    Rgb888,
    Xrgb8888,
}

impl Format {
    const fn bytes(self) -> usize {
        match self {
            Self::Rgb565 => 2,
            Self::Rgb888 => 3,
            Self::Xrgb8888 => 4,
        }
    }

    fn put(self, Rgb(red, green, blue): Rgb, into: &mut Vec<u8>) {
        match self {
            Self::Rgb565 => {
                let word = u16::from(red >> 3) << 11 | u16::from(green >> 2) << 5 | u16::from(blue >> 3);
                into.extend_from_slice(&word.to_le_bytes());
            }
            Self::Rgb888 => into.extend_from_slice(&[blue, green, red]),
            Self::Xrgb8888 => into.extend_from_slice(&[blue, green, red, 0]),
        }
    }
}

impl Layout {
    /// From the files of `/sys/class/graphics/fb0`; `None` where it is not one that we can draw into.
    fn read(dir: &Path) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(dir.join(name)).ok();
        let number = |name: &str| text(name)?.trim().parse::<usize>().ok();
        let format = match number("bits_per_pixel")? {
            16 => Format::Rgb565,
            24 => Format::Rgb888,
            32 => Format::Xrgb8888,
            _ => return None,
        };
        let all = pair(text("virtual_size")?.trim(), ',')?;
        // The buffer may be higher than what of it is seen: `U:1024x768p-0`.
        let modes = text("modes").unwrap_or_default();
        let mode = modes
            .lines()
            .next()
            .and_then(|mode| pair(mode.split_once(':')?.1.split(['p', 'i', 'd']).next()?, 'x'));
        let seen = mode.unwrap_or(all);
        let size = Size { width: seen.width.min(all.width), height: seen.height.min(all.height) };
        let stride = number("stride")?;
        (stride >= size.width.checked_mul(format.bytes())?).then_some(Self { size, stride, format })
    }
}

fn pair(text: &str, between: char) -> Option<Size> {
    let (width, height) = text.split_once(between)?;
    Some(Size { width: width.parse().ok()?, height: height.parse().ok()? })
}

/// `bind` of each console that draws into a frame buffer.
fn consoles(class: &Path) -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir(class.join("vtconsole")).into_iter().flatten().flatten();
    all.map(|console| console.path()).filter_map(|console| {
        let name = fs::read_to_string(console.join("name")).unwrap_or_default();
        name.contains(CONSOLE).then(|| console.join("bind"))
    })
}

impl FrameBuffer {
    /// The endpoint's first frame buffer, if it has one that holds a picture. The console is off it from here on.
    pub fn open() -> Option<Self> {
        Self::at(Path::new(CLASS), Path::new("/dev/fb0"))
    }

    fn at(class: &Path, pixels: &Path) -> Option<Self> {
        let layout = Layout::read(&class.join("graphics/fb0"))?;
        let pixels = OpenOptions::new().write(true).open(pixels).ok()?;
        let mut buffer = Self { pixels, layout, shown: None, taken: Vec::new() };
        for bind in consoles(class) {
            // One that stays would draw over us.
            fs::write(&bind, "0").ok()?;
            buffer.taken.push(bind);
        }
        Some(buffer)
    }

    /// Gives the screen back to the kernel's console from anywhere.
    pub fn give_back_consoles() {
        consoles(Path::new(CLASS)).for_each(|bind| drop(fs::write(bind, "1")));
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.layout.size
    }

    /// Shows `picture`: only what it has changed is written.
    ///
    /// # Errors
    /// The kernel's; the picture is then not to be relied on.
    pub fn show(&mut self, picture: Picture) -> io::Result<()> {
        let Layout { size, stride, format } = self.layout;
        let all = super::raster::Rect { x: 0..size.width, y: 0..size.height };
        let changed = match self.shown.take() {
            Some(before) => picture.changes(&before),
            None => vec![all],
        };
        let (mut line, mut bytes) = (Vec::new(), Vec::new());
        for part in changed {
            let columns = part.x.start..part.x.end.min(size.width);
            line.resize(columns.len(), Rgb(0, 0, 0));
            for y in part.y.start..part.y.end.min(size.height) {
                picture.draw(y, columns.start, &mut line);
                bytes.clear();
                line.iter().for_each(|pixel| format.put(*pixel, &mut bytes));
                self.pixels.write_all_at(&bytes, (y * stride + columns.start * format.bytes()) as u64)?;
            }
        }
        self.shown = Some(picture);
        Ok(())
    }
}

impl Drop for FrameBuffer {
    fn drop(&mut self) {
        for bind in &self.taken {
            let _ = fs::write(bind, "1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Mood, Progress, Scene};
    use super::*;

    fn sysfs(bits: &str, stride: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("graphics/fb0/bits_per_pixel", bits);
        put("graphics/fb0/stride", stride);
        put("graphics/fb0/virtual_size", "640,960\n");
        put("graphics/fb0/modes", "U:640x480p-75\n");
        put("vtconsole/vtcon0/name", "(S) dummy device\n");
        put("vtconsole/vtcon0/bind", "0");
        put("vtconsole/vtcon1/name", "(M) frame buffer device\n");
        put("vtconsole/vtcon1/bind", "1");
        put("fb0", "");
        dir
    }

    fn scene(done: u64) -> Scene {
        let progress = Some(Progress { done, total: 100, ..Progress::default() });
        let said = String::new;
        let now = "Writing".to_owned();
        Scene {
            mood: Mood::Working,
            endpoint: said(),
            drill: false,
            now,
            why: said(),
            next: said(),
            progress,
        }
    }

    #[test]
    fn what_is_written_later_is_what_a_whole_picture_would_be() {
        for (bits, bytes) in [("16\n", 2), ("24\n", 3), ("32\n", 4)] {
            let stride = 640 * bytes + 64;
            let dir = sysfs(bits, &format!("{stride}\n"));
            let at = dir.path().join("fb0");
            let mut buffer = FrameBuffer::at(dir.path(), &at).unwrap();
            assert_eq!(buffer.size(), Size { width: 640, height: 480 });
            let of = |done| Picture::of(&scene(done), Size { width: 640, height: 480 }).unwrap();
            (0..=100).step_by(9).for_each(|done| buffer.show(of(done)).unwrap());
            let (grown, len) = (fs::read(&at).unwrap(), 479 * stride + 640 * bytes);
            assert_eq!(grown.len(), len, "neither shorter nor longer than the screen");
            buffer.shown = None;
            buffer.show(of(99)).unwrap();
            assert!(grown == fs::read(&at).unwrap(), "{bits}");
        }
    }

    #[test]
    fn little_is_written_when_little_changes() {
        let dir = sysfs("32", "2560");
        let at = dir.path().join("fb0");
        let mut buffer = FrameBuffer::at(dir.path(), &at).unwrap();
        let of = |done| Picture::of(&scene(done), Size { width: 640, height: 480 }).unwrap();
        buffer.show(of(10)).unwrap();
        fs::write(&at, vec![7; 640 * 480 * 4]).unwrap();
        buffer.show(of(10)).unwrap();
        assert!(fs::read(&at).unwrap().iter().all(|&byte| byte == 7), "nothing changed");
        buffer.show(of(11)).unwrap();
        let written = fs::read(&at).unwrap().iter().filter(|&&byte| byte != 7).count();
        assert!(written < 640 * 480, "a quarter of the screen at most: {written} bytes");
    }

    #[test]
    fn the_console_is_taken_off_and_given_back() {
        let dir = sysfs("32", "2560");
        let bind = |of: &str| fs::read_to_string(dir.path().join("vtconsole").join(of).join("bind")).unwrap();
        let buffer = FrameBuffer::at(dir.path(), &dir.path().join("fb0")).unwrap();
        assert_eq!((bind("vtcon0"), bind("vtcon1")), ("0".to_owned(), "0".to_owned()));
        drop(buffer);
        assert_eq!((bind("vtcon0"), bind("vtcon1")), ("0".to_owned(), "1".to_owned()));
    }

    #[test]
    fn what_cannot_be_drawn_into_is_left_to_the_text_console() {
        for (bits, stride) in [("8", "2560"), ("32", "640"), ("", "2560"), ("32", "x")] {
            let dir = sysfs(bits, stride);
            assert!(FrameBuffer::at(dir.path(), &dir.path().join("fb0")).is_none(), "{bits} {stride}");
            assert_eq!(fs::read_to_string(dir.path().join("vtconsole/vtcon1/bind")).unwrap(), "1");
        }
        let dir = sysfs("32", "2560");
        assert!(FrameBuffer::at(dir.path(), &dir.path().join("absent")).is_none());
    }
}
