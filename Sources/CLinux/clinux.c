#include "clinux.h"
void clinux_placeholder(void) {}
