// The toy's MicroPython as a 32-bit process: what the official ESP32 image has, and little more.

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)

// The ESP32 port computes in single precision.
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_FLOAT)

#include "variants/mpconfigvariant_common.h"

// A SIGIO handler schedules into the VM (modules/sigio), so the scheduler's
// critical sections have to hold the signal back.
#include <stdint.h>
extern uint32_t sigio_block(void);
extern void sigio_restore(uint32_t state);
#define MICROPY_BEGIN_ATOMIC_SECTION() sigio_block()
#define MICROPY_END_ATOMIC_SECTION(state) sigio_restore(state)

// The clock can be turned from outside (modules/sigio): virtual time.
extern uint32_t sigio_ticks_ms(void);
extern uint32_t sigio_ticks_us(void);
#define mp_hal_ticks_ms sigio_ticks_ms
#define mp_hal_ticks_us sigio_ticks_us

// The ESP32 port's choices where they differ from the unix port's.
#define MICROPY_SCHEDULER_DEPTH (8)
#define MICROPY_PY_HASHLIB_SHA256 (1)
#define MICROPY_PY_CRYPTOLIB (1)
#define MICROPY_PY_CRYPTOLIB_CTR (0)
#define MICROPY_PY_MICROPYTHON_HEAP_LOCKED (1)
