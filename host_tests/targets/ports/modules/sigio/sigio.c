// What a process lacks to stand for a chip: interrupts, and a clock that somebody else turns.
//
// sigio.watch(fd, callback): run callback(fd) between bytecodes whenever fd becomes readable,
// the way an ESP32's peripherals interrupt Python. One descriptor, one callback.
// sigio.clock(us): the clock stands at `us` (modulo 2**32; never goes back) until the next call,
// for time.ticks_*() and asyncio alike. Before the first call the clock is the machine's own.
// sigio.micros(), sigio.seconds(): that clock, modulo 2**32.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "py/mphal.h"
#include "py/mpstate.h"
#include "py/obj.h"
#include "py/runtime.h"

static volatile int watched_fd = -1;
static volatile sig_atomic_t queued;
MP_REGISTER_ROOT_POINTER(mp_obj_t sigio_callback);

static sigset_t sigio_set(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    return set;
}

uint32_t sigio_block(void) {
    sigset_t set = sigio_set(), old;
    sigprocmask(SIG_BLOCK, &set, &old);
    return sigismember(&old, SIGIO);
}

void sigio_restore(uint32_t was_blocked) {
    if (!was_blocked) {
        sigset_t set = sigio_set();
        sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
}

static mp_obj_t run_callback(mp_obj_t fd) {
    queued = 0; // Before the call: data that comes while it runs queues it again.
    return mp_call_function_1(MP_STATE_VM(sigio_callback), fd);
}
static MP_DEFINE_CONST_FUN_OBJ_1(run_callback_obj, run_callback);

static void on_sigio(int signum) {
    (void)signum;
    if (!queued) {
        int saved = errno;
        queued = mp_sched_schedule(MP_OBJ_FROM_PTR(&run_callback_obj), MP_OBJ_NEW_SMALL_INT(watched_fd));
        errno = saved;
    }
}

static mp_obj_t sigio_watch(mp_obj_t fd_in, mp_obj_t callback) {
    int fd = mp_obj_get_int(fd_in);
    MP_STATE_VM(sigio_callback) = callback;
    watched_fd = fd;
    // SA_RESTART: a frame that comes while another is being written or read does not cut it in two.
    struct sigaction action = { .sa_handler = on_sigio, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGIO, &action, NULL) < 0
        || fcntl(fd, F_SETOWN, getpid()) < 0
        || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) < 0) {
        mp_raise_OSError(errno);
    }
    on_sigio(SIGIO); // What came before the watch began.
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(sigio_watch_obj, sigio_watch);

// The linker puts this in place of poll(): a callback that was scheduled between the last look
// at the scheduler and the call must not wait until the call times out.
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms) {
    if (watched_fd < 0) {
        return __real_poll(fds, n, timeout_ms);
    }
    struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
    sigset_t set = sigio_set(), old;
    sigprocmask(SIG_BLOCK, &set, &old);
    int ready = -1;
    errno = EINTR;
    if (MP_STATE_VM(sched_state) != MP_SCHED_PENDING) {
        ready = ppoll(fds, n, timeout_ms < 0 ? NULL : &timeout, &old);
    }
    int saved = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return ready;
}

// A loop that only looks at the clock gets on too: past so many looks each takes this long.
#define FREE_LOOKS (200)
#define LOOK_US (2)

static bool turned;
static uint64_t turned_us;
static uint32_t looks;

static uint64_t now_us(void) {
    if (turned) {
        if (++looks > FREE_LOOKS) {
            turned_us += LOOK_US;
        }
        return turned_us;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

uint32_t sigio_ticks_ms(void) {
    return now_us() / 1000;
}

uint32_t sigio_ticks_us(void) {
    return now_us();
}

static mp_obj_t sigio_clock(mp_obj_t us_in) {
    int32_t step = (uint32_t)mp_obj_get_int_truncated(us_in) - (uint32_t)turned_us;
    if (!turned) {
        turned_us = (uint32_t)mp_obj_get_int_truncated(us_in);
    } else if (step > 0) {
        turned_us += step;
    }
    turned = true;
    looks = 0;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(sigio_clock_obj, sigio_clock);

static mp_obj_t sigio_micros(void) {
    return mp_obj_new_int_from_uint(turned ? (uint32_t)turned_us : (uint32_t)now_us());
}
static MP_DEFINE_CONST_FUN_OBJ_0(sigio_micros_obj, sigio_micros);

static mp_obj_t sigio_seconds(void) {
    return mp_obj_new_int_from_uint(turned ? turned_us / 1000000 : now_us() / 1000000);
}
static MP_DEFINE_CONST_FUN_OBJ_0(sigio_seconds_obj, sigio_seconds);

static const mp_rom_map_elem_t sigio_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_sigio) },
    { MP_ROM_QSTR(MP_QSTR_watch), MP_ROM_PTR(&sigio_watch_obj) },
    { MP_ROM_QSTR(MP_QSTR_clock), MP_ROM_PTR(&sigio_clock_obj) },
    { MP_ROM_QSTR(MP_QSTR_micros), MP_ROM_PTR(&sigio_micros_obj) },
    { MP_ROM_QSTR(MP_QSTR_seconds), MP_ROM_PTR(&sigio_seconds_obj) },
};
static MP_DEFINE_CONST_DICT(sigio_globals, sigio_globals_table);

const mp_obj_module_t sigio_user_cmodule = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&sigio_globals,
};
MP_REGISTER_MODULE(MP_QSTR_sigio, sigio_user_cmodule);
