"""Stand-in for `neopixel`: the official driver's interface, the colours sent to the host."""

import bus


class NeoPixel:
    ORDER = (1, 0, 2, 3)  # what goes out first, second …: green, red, blue, white

    def __init__(self, pin, n, bpp=3, timing=1):
        self.pin = pin
        self.n = n
        self.bpp = bpp
        self.buf = bytearray(n * bpp)
        pin.init(pin.OUT)

    def __len__(self):
        return self.n

    def __setitem__(self, i, v):
        for k in range(self.bpp):
            self.buf[i * self.bpp + self.ORDER[k]] = v[k]

    def __getitem__(self, i):
        return tuple(self.buf[i * self.bpp + self.ORDER[k]] for k in range(self.bpp))

    def fill(self, v):
        for i in range(self.n):
            self[i] = v

    def write(self):
        depth = bus.unlock()
        bus.send(bus.NEOPIXEL, 1, bytes((self.pin._id, self.bpp)) + self.buf)
        bus.lock(depth)
