// What the QEMU port lacks: clock, waiting without spinning, random numbers, a heap whose size is
// set from outside, a ROMFS image. Addresses are those of QEMU's RISC-V `virt` machine; what lies
// in RAM beyond the program is put there by QEMU's loader (targets/qemu_riscv.py).

#include <stdint.h>
#include <string.h>

#include "extmod/vfs.h"
#include "lib/crypto-algorithms/sha256.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/objarray.h"
#include "py/runtime.h"
#include "py/stackctrl.h"
#include "py/stream.h"

#define REGISTER(type, address) (*(volatile type *)(address))

// CLINT: a 10 MHz clock and its alarm
#define MTIMECMP ((volatile uint32_t *)0x02004000)
#define MTIME ((volatile uint32_t *)0x0200bff8)
// 16550 UART, interrupt 10 of the PLIC
#define UART_DATA REGISTER(uint8_t, 0x10000000)
#define UART_IER REGISTER(uint8_t, 0x10000001)
#define UART_FCR REGISTER(uint8_t, 0x10000002)
#define UART_LSR REGISTER(uint8_t, 0x10000005)
#define UART_READY (1)
#define UART_IRQ (10)
#define PLIC_PRIORITY REGISTER(uint32_t, 0x0c000000 + 4 * UART_IRQ)
#define PLIC_ENABLE REGISTER(uint32_t, 0x0c002000)
#define PLIC_CLAIM REGISTER(uint32_t, 0x0c200004)

#define ROMFS ((void *)0x81000000)
#define ROMFS_SIZE_MAX (0x01000000)
#define HEAP ((uint8_t *)0x84000000)
#define HEAP_SIZE_MAX (0x02000000)
#define STACK_LIMIT (15 * 1024) // the ESP32 port's

static struct {
    uint8_t seed[32];
    uint32_t heap_size;
} *const parameters = (void *)0x82000000;

// Clock

static uint64_t ticks(void) {
    uint32_t high, low;
    do {
        high = MTIME[1];
        low = MTIME[0];
    } while (high != MTIME[1]);
    return (uint64_t)high << 32 | low;
}

mp_uint_t mp_hal_ticks_ms(void) {
    return ticks() / 10000;
}

mp_uint_t mp_hal_ticks_us(void) {
    return ticks() / 10;
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return ticks();
}

uint64_t mp_hal_time_ns(void) {
    return ticks() * 100;
}

// Wait for input, or until `ms` have passed unless negative. Interrupts stay off: a pending one
// ends `wfi` without a trap.
void board_wait_ms(int ms) {
    uint32_t wake_up = 1 << 11; // external
    UART_IER = 1;
    PLIC_PRIORITY = 1;
    PLIC_ENABLE = 1 << UART_IRQ;
    if (ms >= 0) {
        wake_up |= 1 << 7; // timer
        uint64_t until = ticks() + (uint64_t)ms * 10000;
        MTIMECMP[1] = 0xffffffff;
        MTIMECMP[0] = (uint32_t)until;
        MTIMECMP[1] = (uint32_t)(until >> 32);
    }
    __asm volatile ("csrci mstatus, 8\ncsrw mie, %0" : : "r" (wake_up));
    if (!(UART_LSR & UART_READY)) {
        __asm volatile ("wfi" : : : "memory");
    }
    __asm volatile ("csrw mie, zero");
    uint32_t irq = PLIC_CLAIM;
    if (irq) {
        PLIC_CLAIM = irq;
    }
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint64_t until = ticks() + (uint64_t)ms * 10000;
    mp_event_handle_nowait();
    for (uint64_t now; (now = ticks()) < until;) {
        mp_event_wait_ms((until - now + 9999) / 10000);
    }
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t until = ticks() + (uint64_t)us * 10;
    while (ticks() < until) {
    }
}

// Console

int __wrap_mp_hal_stdin_rx_chr(void) {
    UART_FCR = 1; // queue 16 bytes
    while (!(UART_LSR & UART_READY)) {
        mp_event_wait_indefinite();
    }
    return UART_DATA;
}

uintptr_t __wrap_mp_hal_stdio_poll(uintptr_t flags) {
    uintptr_t ready = MP_STREAM_POLL_WR;
    if (UART_LSR & UART_READY) {
        ready |= MP_STREAM_POLL_RD;
    }
    return ready & flags;
}

// Random numbers: SHA-256 of the seed and a counter

void board_random(uint8_t *out, size_t size) {
    static uint32_t counter;
    while (size) {
        uint8_t digest[32];
        CRYAL_SHA256_CTX sha;
        sha256_init(&sha);
        sha256_update(&sha, parameters->seed, sizeof(parameters->seed));
        counter++;
        sha256_update(&sha, (const uint8_t *)&counter, sizeof(counter));
        sha256_final(&sha, digest);
        size_t n = MIN(size, sizeof(digest));
        memcpy(out, digest, n);
        out += n;
        size -= n;
    }
}

// Memory: at power-up and at every soft reset the heap takes the size that stands in `parameters`.

void __real_gc_init(void *start, void *end);
void __real_gc_sweep_all(void);
void __real_mp_stack_set_limit(mp_uint_t limit);

void __wrap_gc_init(void *start, void *end) {
    (void)start;
    (void)end;
    __real_gc_init(HEAP, HEAP + MIN(parameters->heap_size, HEAP_SIZE_MAX));
}

void __wrap_gc_sweep_all(void) {
    __real_gc_sweep_all();
    __wrap_gc_init(NULL, NULL);
}

void __wrap_mp_stack_set_limit(mp_uint_t limit) {
    (void)limit;
    __real_mp_stack_set_limit(STACK_LIMIT);
}

// ROMFS, mounted at /rom by mp_init()

static const mp_obj_array_t romfs = {{&mp_type_memoryview}, 'B', 0, ROMFS_SIZE_MAX, ROMFS};

mp_obj_t mp_vfs_rom_ioctl(size_t n_args, const mp_obj_t *args) {
    switch (mp_obj_get_int(args[0])) {
        case MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS:
            return MP_OBJ_NEW_SMALL_INT(1);
        case MP_VFS_ROM_IOCTL_GET_SEGMENT:
            if (n_args == 2 && args[1] == MP_OBJ_NEW_SMALL_INT(0)) {
                return MP_OBJ_FROM_PTR(&romfs);
            }
    }
    return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
}
