print("vine-replay")
