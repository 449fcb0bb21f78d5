internal import VineCore
