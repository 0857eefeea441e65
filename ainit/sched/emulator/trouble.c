/* A GPU in trouble: calls that hang, and what the driver wants done about it.
 *
 *   set <gpu> hang <milliseconds>     readings of that GPU take that long, or until the line is gone
 *   set <gpu> recovery-action <n>     0 none, 1 reset, 2 reboot, 3 drain, 4 drain and reset; drivers
 *                                     before release 565 say nothing, as this one without the line
 */
#include <time.h>

#include "emulator.h"

enum { FIELD_RECOVERY_ACTION = 230, VALUE_UNSIGNED = 1, NOT_SAID = 0xffff };
static const long SLICE_NS = 5000000;

static long long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

void hang_if_asked(unsigned gpu)
{
    const struct timespec slice = {.tv_nsec = SLICE_NS};
    long long start = milliseconds();
    while (milliseconds() - start < (long long)injected_reading(gpu, "hang", 0))
        nanosleep(&slice, NULL);
}

static nvmlReturn_t index_of(nvmlDevice_t device, unsigned *index)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    *index = target.index;
    return NVML_SUCCESS;
}

nvmlReturn_t hang_device_if_asked(nvmlDevice_t device)
{
    unsigned index = 0;
    TRY(index_of(device, &index));
    hang_if_asked(index); /* outside of the lock: the other GPUs go on */
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count,
                                               nvmlFieldValue_t *values)
{
    unsigned index = 0;
    TRY(index_of(device, &index));
    REQUIRE(count > 0 && values, NVML_ERROR_INVALID_ARGUMENT);
    unsigned action = (unsigned)injected_reading(index, "recovery-action", NOT_SAID);
    for (int number = 0; number < count; number++) {
        bool is_said = values[number].fieldId == FIELD_RECOVERY_ACTION && action != NOT_SAID;
        values[number].nvmlReturn = is_said ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
        values[number].valueType = VALUE_UNSIGNED;
        values[number].value = is_said ? action : 0;
    }
    return NVML_SUCCESS;
}
