# Flash encryption, secure boot and encrypted NVS. Read ../secure.md first: it cannot be undone.

file(WRITE ${CMAKE_BINARY_DIR}/sdkconfig.secure
    "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"${MICROPY_BOARD_DIR}/../partitions-4MiB-secure.csv\"\n"
    # The first chips have no secure boot v2, and their ROM loader cannot be closed.
    "CONFIG_ESP32_REV_MIN_3=y\nCONFIG_SECURE_DISABLE_ROM_DL_MODE=y\n"
)

list(APPEND SDKCONFIG_DEFAULTS
    ${MICROPY_BOARD_DIR}/../sdkconfig.secure
    ${CMAKE_BINARY_DIR}/sdkconfig.secure
)
