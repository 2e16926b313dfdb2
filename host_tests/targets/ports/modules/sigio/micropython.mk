# Signals are a process's: unix only.
ifneq ($(VARIANT_DIR),)
SIGIO_DIR := $(USERMOD_DIR)
SRC_USERMOD_C += $(SIGIO_DIR)/sigio.c
LDFLAGS += -Wl,--wrap=poll
endif
