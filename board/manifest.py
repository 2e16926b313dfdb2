# Hushbear in an image: the library and the firmware, compiled.
package("hushbear", base_path="../lib", opt=3)
module("boot.py", base_path="../firmware", opt=3)
module("main.py", base_path="../firmware", opt=3)
