#define MICROPY_HW_BOARD_NAME               "Hushbear on ESP32-S3-DevKitC-1"
#define MICROPY_HW_MCU_NAME                 "ESP32S3"

// The console is on the UART too: the board has a USB bridge for it.
#define MICROPY_HW_ENABLE_UART_REPL         (1)

// What a toy has no use for.
#define MICROPY_PY_ESPNOW                   (0)
#define MICROPY_PY_NETWORK_LAN              (0)
