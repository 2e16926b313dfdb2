# cryptolib finds Mbed TLS's AES here; the rest of MicroPython goes without Mbed TLS. tools/build
# unpacks the source: Debian's library is for neither 32-bit target.
AES_CONFIG := $(USERMOD_DIR)/mbedtls_config.h
AES_SOURCES := $(addprefix lib/mbedtls/library/,aes.c platform_util.c)
SRC_USERMOD_LIB_C += $(AES_SOURCES)
$(addprefix $(BUILD)/,extmod/modcryptolib.o $(AES_SOURCES:.c=.o)): CFLAGS += \
	-DMICROPY_SSL_MBEDTLS=1 -I$(TOP)/lib/mbedtls/include -DMBEDTLS_CONFIG_FILE='"$(AES_CONFIG)"'
