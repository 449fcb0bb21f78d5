void clinux_placeholder(void);
