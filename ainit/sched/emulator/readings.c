/* Sensors and counters of a GPU: heat, power, clocks, memory errors, its place on the bus.
 *
 * A board with work on it draws its limit and is warm; an idle one is neither. Every number can be
 * set from outside: the line `set <gpu> <key> <number>` in the injection file, the last one counting.
 * The keys stand beside the calls below. MIG devices have none of these: they are the board's.
 */
#include <string.h>

#include "emulator.h"

enum { IDLE_MILLIWATTS = 60000, IDLE_CELSIUS = 30, BUSY_CELSIUS = 65 };
enum { SLOWDOWN_CELSIUS = 87, SHUTDOWN_CELSIUS = 92, MEMORY_CELSIUS = 95 };
enum { CLOCKS = 4, THRESHOLDS = 4, MEMORY_LOCATIONS = 8 };

/* One call that fills one number: `idle` and `busy` are what it says when nothing is set. */
static nvmlReturn_t read_number(nvmlDevice_t device, const void *out, const char *key,
                                unsigned long long idle, unsigned long long busy,
                                unsigned long long *number)
{
    TRY(hang_device_if_asked(device));
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    *number = injected_reading(target.index, key, used_bytes(&target) ? busy : idle);
    return NVML_SUCCESS;
}

#define READING(name, type, key, idle, busy)                                                       \
    NVML_API nvmlReturn_t name(nvmlDevice_t device, type *out)                                     \
    {                                                                                              \
        unsigned long long number = 0;                                                             \
        TRY(read_number(device, out, key, idle, busy, &number));                                   \
        *out = (type)number;                                                                       \
        return NVML_SUCCESS;                                                                       \
    }

static unsigned power_limit(nvmlDevice_t device)
{
    struct session s __attribute__((cleanup(session_close))) = {.file = -1};
    struct target target;
    if (!is_initialized() || session_open(&s, false) != NVML_SUCCESS ||
        resolve(&s, device, HANDLE_GPU, &target) != NVML_SUCCESS)
        return 0;
    return target.board->power_w * 1000;
}

/* ---- power, in milliwatts and millijoules ---- */

READING(nvmlDeviceGetPowerUsage, unsigned, "power", IDLE_MILLIWATTS, power_limit(device))
READING(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power-limit", power_limit(device),
        power_limit(device))
READING(nvmlDeviceGetPowerManagementLimit, unsigned, "power-limit", power_limit(device),
        power_limit(device))
READING(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, "power-default", power_limit(device),
        power_limit(device))
READING(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "energy", 0, 0)

NVML_API nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device,
                                                                   unsigned *least, unsigned *most)
{
    REQUIRE(least, NVML_ERROR_INVALID_ARGUMENT);
    TRY(nvmlDeviceGetPowerManagementDefaultLimit(device, most));
    *least = *most / 3;
    return NVML_SUCCESS;
}

/* ---- heat, in degrees Celsius ---- */

NVML_API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned sensor,
                                               unsigned *celsius)
{
    unsigned long long number = 0;
    REQUIRE(sensor == 0, NVML_ERROR_INVALID_ARGUMENT);
    TRY(read_number(device, celsius, "temperature", IDLE_CELSIUS, BUSY_CELSIUS, &number));
    *celsius = (unsigned)number;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_v1_t *reading)
{
    REQUIRE(reading, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(reading->version == NVML_STRUCT_VERSION(nvmlTemperature_v1_t, 1),
            NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    unsigned celsius = 0;
    TRY(nvmlDeviceGetTemperature(device, reading->sensorType, &celsius));
    reading->temperature = (int)celsius;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned threshold,
                                                        unsigned *celsius)
{
    static const char *const KEYS[THRESHOLDS] = {"shutdown-at", "slowdown-at", "memory-max-at",
                                                 "gpu-max-at"};
    static const unsigned VALUES[THRESHOLDS] = {SHUTDOWN_CELSIUS, SLOWDOWN_CELSIUS, MEMORY_CELSIUS,
                                                SLOWDOWN_CELSIUS};
    unsigned long long number = 0;
    REQUIRE(threshold < THRESHOLDS, NVML_ERROR_NOT_SUPPORTED);
    TRY(read_number(device, celsius, KEYS[threshold], VALUES[threshold], VALUES[threshold],
                    &number));
    *celsius = (unsigned)number;
    return NVML_SUCCESS;
}

/* ---- clocks, in MHz, and why they are not higher ---- */

static nvmlReturn_t clock_of(nvmlDevice_t device, unsigned clock, unsigned *mhz, bool most)
{
    static const char *const KEYS[2][CLOCKS] = {
        {"clock-graphics", "clock-sm", "clock-memory", "clock-video"},
        {"clock-graphics-max", "clock-sm-max", "clock-memory-max", "clock-video-max"}};
    static const unsigned IDLE[CLOCKS] = {345, 345, 1593, 765};
    static const unsigned MOST[CLOCKS] = {1980, 1980, 2619, 1545};
    unsigned long long number = 0;
    REQUIRE(clock < CLOCKS, NVML_ERROR_INVALID_ARGUMENT);
    TRY(read_number(device, mhz, KEYS[most][clock], most ? MOST[clock] : IDLE[clock], MOST[clock],
                    &number));
    *mhz = (unsigned)number;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned clock, unsigned *mhz)
{
    return clock_of(device, clock, mhz, false);
}

NVML_API nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned clock, unsigned *mhz)
{
    return clock_of(device, clock, mhz, true);
}

/* Bits: 0x1 idle, 0x4 power cap, 0x8 hardware slowdown, 0x20 and 0x40 heat, 0x80 power brake. */
READING(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "clock-reasons", 0x1, 0)
READING(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "clock-reasons", 0x1, 0)
READING(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, "clock-reasons-all", 0x1ff,
        0x1ff)
READING(nvmlDeviceGetPerformanceState, unsigned, "performance-state", 0, 0)

/* With MIG on, a board has no utilisation of its own (NOT_SUPPORTED on real boards, too). */
NVML_API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve_device(&s, device, &target));
    REQUIRE(rates, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(!target.gpu->mig_current, NVML_ERROR_NOT_SUPPORTED);
    unsigned busy = used_bytes(&target) ? 100 : 0;
    rates->gpu = (unsigned)injected_reading(target.index, "utilisation", busy);
    rates->memory = (unsigned)injected_reading(target.index, "utilisation-memory", busy);
    return NVML_SUCCESS;
}

/* ---- memory errors ---- */

NVML_API nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned *current,
                                           unsigned *pending)
{
    unsigned long long number = 0;
    REQUIRE(pending, NVML_ERROR_INVALID_ARGUMENT);
    TRY(read_number(device, current, "ecc", 1, 1, &number));
    *current = *pending = (unsigned)number;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned type,
                                                  unsigned counter, unsigned long long *count)
{
    static const char *const KEYS[2][2] = {
        {"ecc-corrected", "ecc-corrected-total"},     /* since the driver loaded; ever */
        {"ecc-uncorrected", "ecc-uncorrected-total"}};
    REQUIRE(type < 2 && counter < 2, NVML_ERROR_INVALID_ARGUMENT);
    return read_number(device, count, KEYS[type][counter], 0, 0, count);
}

/* All errors are laid to the device's memory (2), none to the caches (the other places). */
NVML_API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned type,
                                                      unsigned counter, unsigned location,
                                                      unsigned long long *count)
{
    REQUIRE(location < MEMORY_LOCATIONS, NVML_ERROR_INVALID_ARGUMENT);
    TRY(nvmlDeviceGetTotalEccErrors(device, type, counter, count));
    if (location != 2)
        *count = 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *corrected,
                                                unsigned *uncorrected, unsigned *pending,
                                                unsigned *failed)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(corrected && uncorrected && pending && failed, NVML_ERROR_INVALID_ARGUMENT);
    *corrected = (unsigned)injected_reading(target.index, "rows-corrected", 0);
    *uncorrected = (unsigned)injected_reading(target.index, "rows-uncorrected", 0);
    *pending = injected_reading(target.index, "rows-pending", 0) != 0;
    *failed = injected_reading(target.index, "rows-failed", 0) != 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device,
                                                        nvmlRowRemapperHistogramValues_t *banks)
{
    unsigned long long whole = 0, none = 0;
    TRY(read_number(device, banks, "banks-whole", 640, 640, &whole));
    TRY(read_number(device, banks, "banks-used-up", 0, 0, &none));
    *banks = (nvmlRowRemapperHistogramValues_t){.max = (unsigned)whole, .none = (unsigned)none};
    return NVML_SUCCESS;
}

/* Boards with row remapping retire no pages. */
NVML_API nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, unsigned *pending)
{
    (void)device;
    (void)pending;
    REQUIRE(is_initialized(), NVML_ERROR_UNINITIALIZED);
    return NVML_ERROR_NOT_SUPPORTED;
}
