// The QEMU port's configuration with what the toy's code needs added to it.

#include "mpconfigport.h"

// As the ESP32 port has it.
#define MICROPY_SCHEDULER_DEPTH (8)
#define MICROPY_PY_HASHLIB_SHA256 (1)
#define MICROPY_PY_CRYPTOLIB (1)
#define MICROPY_PY_CRYPTOLIB_CTR (0)
#define MICROPY_PY_MICROPYTHON_HEAP_LOCKED (1)
#define MICROPY_PY_OS_INCLUDEFILE "board_os.h"
#define MICROPY_PY_OS_URANDOM (1)
#define MICROPY_PY_TIME_INCLUDEFILE "board_time.h"
#define MICROPY_PY_TIME_TIME_TIME_NS (1)
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (1)

#undef MICROPY_PY_ASYNCIO
#define MICROPY_PY_ASYNCIO (1)
#undef MICROPY_PY_SELECT
#define MICROPY_PY_SELECT (1)
#undef MICROPY_PY_SYS_STDIO_BUFFER
#define MICROPY_PY_SYS_STDIO_BUFFER (1)
#undef MICROPY_PY_TIME
#define MICROPY_PY_TIME (1)
#undef MICROPY_VFS_ROM_IOCTL
#define MICROPY_VFS_ROM_IOCTL (1)

// Waiting stops the processor, which frees the host's.
void board_wait_ms(int ms);
#define MICROPY_INTERNAL_WFE(TIMEOUT_MS) board_wait_ms(TIMEOUT_MS)
