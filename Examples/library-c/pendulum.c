// The period of a pendulum, exact for any amplitude.
#include <math.h>
#include <stdlib.h>
#include <vine_function.h>

// What every call needs and no call should make again: here only the acceleration, in real life a
// mesh, a table or a fitted model.
int prepare(vine_call *call) {
  double *gravity = malloc(sizeof *gravity);
  if (!gravity || sscanf(call->arguments, "[%lf]", gravity) != 1)
    return vine_fail(call, "prepare takes the acceleration of gravity, not %s", call->arguments);
  call->context = gravity;
  return 0;
}

void prepare_teardown(void *gravity) { free(gravity); }

// period(length, degrees): seconds.
int period(vine_call *call) {
  const double pi = 3.14159265358979323846, gravity = *(double *)call->context;
  double length, degrees;
  if (sscanf(call->arguments, "[%lf,%lf]", &length, &degrees) != 2 || length <= 0 || fabs(degrees) >= 180)
    return vine_fail(call, "period takes a length and an angle below 180 degrees, not %s", call->arguments);
  // The arithmetic-geometric mean of 1 and cos(angle / 2), as Gauss found.
  double a = 1, b = cos(degrees * pi / 360);
  while (fabs(a - b) > 1e-15) {
    double mean = (a + b) / 2;
    b = sqrt(a * b);
    a = mean;
  }
  return vine_printf(call, "%.12f", 2 * pi * sqrt(length / gravity) / a);
}

// longest(periods): the largest number of a list.
int longest(vine_call *call) {
  const char *at = strchr(call->arguments + 1, '[');
  if (!at) return vine_fail(call, "longest takes a list");
  double most = -INFINITY;
  for (char *end; *at && *at != ']'; at = end) {
    double value = strtod(at + 1, &end);
    if (end == at + 1) return vine_fail(call, "longest takes a list of numbers");
    if (value > most) most = value;
  }
  return vine_printf(call, "%.12f", most);
}
