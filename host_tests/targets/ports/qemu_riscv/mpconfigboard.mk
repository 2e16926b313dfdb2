# QEMU's RISC-V `virt` machine with what an ESP32 has and the port's own board lacks.
QEMU_ARCH = riscv32
QEMU_MACHINE = virt

# Debian's compiler defaults to a specification whose multilibs it was not built with.
RV32_ARCH = rv32imac
AFLAGS += -misa-spec=2.2
CFLAGS += -DQEMU_SOC_VIRT -DMICROPY_HW_MCU_NAME='"$(RV32_ARCH)"'
CFLAGS += -DMP_CONFIGFILE='"$(BOARD_DIR)/mpconfigboard.h"' -I$(BOARD_DIR)
CFLAGS += -isystem /usr/include/newlib
LDFLAGS += -misa-spec=2.2 -nostdlib
LIBS = $(shell $(CC) $(CFLAGS) -print-libgcc-file-name)

# modules/qemu_board takes these over.
LDFLAGS += $(addprefix -Wl$(comma)--wrap=,\
	gc_init gc_sweep_all mp_stack_set_limit mp_hal_stdin_rx_chr mp_hal_stdio_poll)
comma := ,
MICROPY_HEAP_SIZE = 16

LDSCRIPT = mcu/rv32/virt.ld

SRC_BOARD_O += shared/runtime/gchelper_native.o shared/runtime/gchelper_rv32i.o
SRC_C += shared/timeutils/timeutils.c

MPY_CROSS_FLAGS += -march=rv32imc
MICROPY_VFS_LFS2 = 1
FROZEN_MANIFEST ?= $(BOARD_DIR)/../manifest.py
