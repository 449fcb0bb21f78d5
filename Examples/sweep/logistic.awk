# usage: awk -v rate=R -f logistic.awk
#
# Follows x -> rate x (1 - x) and prints: the rate, the Lyapunov exponent, and
# whether the orbit settles (exponent below zero) or is chaotic.
BEGIN {
    x = 0.4
    for (i = 0; i < 200; i++) x = rate * x * (1 - x)
    for (i = 0; i < 2000; i++) {
        x = rate * x * (1 - x)
        slope = rate * (1 - 2 * x)
        if (slope < 0) slope = -slope
        if (slope < 1e-12) slope = 1e-12
        sum += log(slope)
    }
    printf "%.4f %8.4f %s\n", rate, sum / 2000, sum < 0 ? "settles" : "chaotic"
}
