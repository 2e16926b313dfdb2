#define MICROPY_HW_BOARD_NAME               "Hushbear on ESP32-DevKitC"
#define MICROPY_HW_MCU_NAME                 "ESP32"

// What a toy has no use for.
#define MICROPY_PY_ESPNOW                   (0)
#define MICROPY_PY_NETWORK_LAN              (0)
