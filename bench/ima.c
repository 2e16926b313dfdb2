// The codec's rules in plain C, for the bench to compare the kernels with: the same blocks to the
// byte, at -O2 on the same emulated processor. Shift and add (IMA, "Recommended Practices", 1992).

#include <stdint.h>

#define SAMPLES 505

static const int16_t steps[89] = {
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66,
    73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449,
    494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272,
    2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493,
    10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
};
static const int8_t index_moves[8] = { -1, -1, -1, -1, 2, 4, 6, 8 };

static inline int clip(int value) {
    return value < -32768 ? -32768 : value > 32767 ? 32767 : value;
}

static inline int next_index(int index, int code) {
    index += index_moves[code & 7];
    return index < 0 ? 0 : index > 88 ? 88 : index;
}

static inline int difference(int step, int code) {
    int d = step >> 3;
    if (code & 4) {
        d += step;
    }
    if (code & 2) {
        d += step >> 1;
    }
    if (code & 1) {
        d += step >> 2;
    }
    return code & 8 ? -d : d;
}

// Decode a block of `size` bytes.
void decode(const uint8_t *src, int size, int16_t *dst) {
    int value = (int16_t)(src[0] | src[1] << 8), index = src[2];
    const uint8_t *end = src + size;
    *dst++ = value;
    for (src += 4; src < end; src++) {
        for (int shift = 0; shift < 8; shift += 4) {
            int code = *src >> shift & 15;
            value = clip(value + difference(steps[index], code));
            index = next_index(index, code);
            *dst++ = value;
        }
    }
}

// Return the code whose level is nearest to `target`, of two as near the smaller move; `*level` is
// the level. At the end of the range the next code's level, cut off there, may be nearer.
static inline int nearest(int value, int step, int target, int *level) {
    int code = 0, sign = 0, distance = target - value;
    if (distance < 0) {
        distance = -distance;
        sign = 8;
    }
    int half = step >> 1, quarter = step >> 2, d = step >> 3;
    if (2 * distance > 2 * d + step + half + quarter) {
        d += step;
        code = 4;
    }
    if (2 * distance > 2 * d + half + quarter) {
        d += half;
        code += 2;
    }
    if (2 * distance > 2 * d + quarter) {
        d += quarter;
        code += 1;
    }
    code |= sign;
    int reached = value + (sign ? -d : d), mirrored = 2 * target - reached;
    if (mirrored != (int16_t)mirrored) { // the limit lies nearer than that
        int up = mirrored > 0;
        if (code == (up ? 8 : 0)) {
            code ^= 8; // from the least move one way to the least move the other
            reached = mirrored;
        } else if (code != (up ? 7 : 15)) {
            code += up == !sign ? 1 : -1;
            reached = mirrored;
        }
    }
    *level = clip(reached);
    return code;
}

static inline uint8_t *start(const int16_t *samples, uint8_t *dst, int index) {
    dst[0] = samples[0];
    dst[1] = samples[0] >> 8;
    dst[2] = index;
    dst[3] = 0;
    return dst + 4;
}

// Encode 505 samples, each as near as it gets.
void encode_0(const int16_t *samples, uint8_t *dst, int index) {
    dst = start(samples, dst, index);
    int value = samples[0];
    for (int i = 1; i < SAMPLES; i += 2) {
        int codes = nearest(value, steps[index], samples[i], &value);
        index = next_index(index, codes);
        int code = nearest(value, steps[index], samples[i + 1], &value);
        index = next_index(index, code);
        *dst++ = codes | code << 4;
    }
}

static inline int square(int error) {
    if (error < -16384 || error > 16383) {
        error = 16384;
    }
    return error * error;
}

// Places are codes in the order of their levels.
static inline int turned(int code_or_place) {
    return code_or_place & 8 ? code_or_place ^ 8 : code_or_place ^ 15;
}

static inline int place_of(int code) {
    return code & 8 ? code ^ 15 : code ^ 8;
}

// Encode 505 samples, each so that it and the one after it together come nearest. From the code
// that is nearest by itself up, then down, until one costs as much alone as the best pair so far.
void encode_1(const int16_t *samples, uint8_t *dst, int index) {
    dst = start(samples, dst, index);
    int value = samples[0], middle = 8, low = 0;
    for (int i = 1; i < SAMPLES; i++) {
        int target = samples[i], after = samples[i < SAMPLES - 1 ? i + 1 : i];
        int first = middle, best = INT32_MAX;
        int best_code = 0, best_value = 0, best_index = 0;
        for (int way = 1; way >= -1; way -= 2) {
            for (int place = way > 0 ? first : first - 1; !(place & ~15); place += way) {
                int code = turned(place), level;
                int moved = clip(value + difference(steps[index], code));
                int cost = square(target - moved);
                if (cost >= best) {
                    break;
                }
                int to = next_index(index, code);
                int next = nearest(moved, steps[to], after, &level);
                cost += square(after - level);
                if (cost < best) {
                    best = cost;
                    best_code = code;
                    best_value = moved;
                    best_index = to;
                    middle = place_of(next);
                }
            }
        }
        value = best_value;
        index = best_index;
        if (i & 1) {
            low = best_code;
        } else {
            *dst++ = low | best_code << 4;
        }
    }
}
