# The hardware of targets/ports/qemu_riscv.
ifneq ($(QEMU_ARCH),)
SRC_USERMOD_C += $(USERMOD_DIR)/board.c
endif
