# cryptolib finds Mbed TLS's AES here; the rest of MicroPython goes without Mbed TLS.
AES_DIR := $(USERMOD_DIR)
SRC_USERMOD_LIB_C += $(AES_DIR)/aes.c
$(BUILD)/extmod/modcryptolib.o: CFLAGS += -DMICROPY_SSL_MBEDTLS=1 -I$(AES_DIR)
